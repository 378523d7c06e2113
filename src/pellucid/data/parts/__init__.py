"""Sets of pictures with parts marked in them; `open_parts` finds the layout of a folder."""
