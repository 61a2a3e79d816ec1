"""Figures: what capture and deliver reach beside the ceilings of the driver and the broker."""
