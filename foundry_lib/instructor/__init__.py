"""For instructors: store a lesson's outputs, compare a run with them, report the differences."""
