"""Figures, one in each module: `draw(material)` yields drawings where their data exist; PLACE orders modules."""
