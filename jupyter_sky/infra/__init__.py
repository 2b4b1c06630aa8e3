"""Places that give nodes.

`base` is what every place must be able to do, `registry` finds them by name. Importing this package imports
no infra and no vendor's library: a command pays for the places it touches and for no other.
"""
