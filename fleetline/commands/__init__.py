"""One module per command of the command line; the file's name is the command's."""
