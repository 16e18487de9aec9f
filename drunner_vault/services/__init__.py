"""dRunner's service conventions: names, settings, hooks, the files of an installed service. No Docker, no command line.

Settings and scripts that come from an image or a backup are data here: they are parsed literally, never sourced.
"""
