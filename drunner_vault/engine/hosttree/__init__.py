"""A volume's tree where it is a directory of this host: `gatherer` reads it, `writer` makes it.

Many small files are a handful of system calls each, which Python's threads cannot make at the same time. So they are
read (`gatherer_process`) and made (`filler_process`) by processes of their own, which `helper` starts, over `channel`.
Nothing in here needs more than the standard library, so that those start at once; where they cannot, this one does all.
"""
