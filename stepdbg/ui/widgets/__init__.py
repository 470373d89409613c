"""Widgets that the panes are made of: line-API lists that stay fast at any number of rows."""
