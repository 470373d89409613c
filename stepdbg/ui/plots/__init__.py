"""Plots over iterations: `canvas` draws curves as text, `look` is where the user looks, `view` and `screen` show it."""
