"""What happens, in order: launch, exec, status, logs, stop, start, down.

A flow joins the words, the optimizer, an infra and a link into one thing a person asked for. It returns
objects and reports to a `Reporter`; it never prints, never asks a terminal and knows no face. What creates
or destroys nodes runs as an operation in a process of its own (`flows.operations`); quick things run in the
caller's.
"""
