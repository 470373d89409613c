"""Not the standard library's; with what torch needs of that while it is imported."""


def mine():
    return "my own textwrap"


def dedent(text):
    lines = text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] if line.strip() else "" for line in lines)


def indent(text, prefix, predicate=None):
    return text
