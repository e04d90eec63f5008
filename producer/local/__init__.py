"""`trace-ocr run`: a whole job on one machine, with an embedded Redis."""
