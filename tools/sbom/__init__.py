"""What the product is made of: its software bill of materials and the licences in it."""
