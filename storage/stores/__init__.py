"""Where the files of a workspace are: a folder or a prefix of an object store."""
