"""Every chapter as a notebook of plain CommonMark, with the numbers that the site shows.

    markdown    document tree to CommonMark
    cells       ... to the cells of a notebook
    setup_cell  the first code cell: it installs the package in Colab
    outputs     printed text that is stored and compared
    builder     the Sphinx builder; export and check of all chapters
    cli         the command line

A construct without a clean CommonMark form stops the export with its place in the source.
"""
