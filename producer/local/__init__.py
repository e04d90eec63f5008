"""Everything on this machine: `trace-ocr run` and its embedded Redis."""
