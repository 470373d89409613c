"""A package that is run with `python -m pkg_train`."""
