"""Not the standard library's."""


def mine():
    return "my own textwrap"
