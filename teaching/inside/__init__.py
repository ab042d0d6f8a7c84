"""What the sandbox shows of this package: it runs in the same process as a student's code.

    __main__.py   serves the grader: runs cells, hands out values, calls functions
    channel.py    one end of the socket to the grader; both ends are made of it
    codecs.py     what may cross the socket, as a table
    errors.py     errors that cross the socket
    shell.py      runs notebook cells, as Jupyter would
    limits.py     the operating system's limits on the process

Nothing here knows of a test, a mark or a solution.
"""
