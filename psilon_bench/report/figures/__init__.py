"""One figure a file: `draw(material)` yields drawings where the data for them is there; PLACE orders them."""
