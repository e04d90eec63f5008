"""The documentation as a site: the repository's own pages, and a reference made of the program."""
