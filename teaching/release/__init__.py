"""Release the problem sets for one class.

master.py       from a source to the instructor's notebook
rules.py        the format that a source must keep
versions.py     the student's notebook, and the solutions that students may read
execution.py    run notebooks, and see what their tests give
documents.py    rubrics, and the configuration of an nbgrader course
course.py       all files of one class
setup_cell.txt  the first code cell of a student's notebook
"""
