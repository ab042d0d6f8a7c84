"""Do the notebooks run in Colab? Tried in stand-ins for it, before a reader tries.

freeze.txt  the versions that Colab had on the day which stands there
stand_ins   environments: these versions, the newest, the oldest that pyproject.toml admits
fork        a published copy of the book on this disk, from which notebooks install the package
runs        a notebook from top to bottom, with what its set-up cell changed
cli         the command line

A stand-in has Python and packages as Colab has them and an empty module `google.colab`. It has no
GPU, no drive and no widgets of Colab's own, and a cell that would wait for its reader fails.
"""
