"""From facts to words: English, Chinese, and one way to print a number."""
