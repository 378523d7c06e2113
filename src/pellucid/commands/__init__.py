"""The commands of the command line, one file each; `options` holds what several share."""
