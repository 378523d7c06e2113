"""What everything else stands on: networks, layers, passes, results, files. Knows no method."""
