"""The program on every node: it runs jobs, keeps their logs, forwards streams and counts idleness.

It is shipped to nodes as one zipapp and needs nothing there but Python 3.8 and a shell, so it imports only
the standard library, and nothing of the layers above it. Start reading at `server`.
"""
