"""What a saved page shows of a widget: every widget of the course stores a text, and most store a picture."""

import base64


class Stored:
    """Comes before the widget's class among the bases, and adds a text and a picture to the cell's output.

    A page without a live front end (a saved notebook, the regression check) shows them instead of the widget. Text and
    picture are made at the same moment, when the widget is displayed, so they describe the same state. A widget that
    goes on moving while its cell runs has `moves = True`: `course.py refresh` then stores the picture with which the
    cell ended, and its text must be true of every moment.
    """

    moves = False

    def stored_text(self) -> str:
        """One line, or a few, that describe what the widget shows now."""
        raise NotImplementedError

    def stored_png(self) -> bytes | None:
        """The picture that the widget shows now, as a PNG; None for a widget without a picture."""
        return None

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        data = {**data, "text/plain": self.stored_text()}
        picture = self.stored_png()
        if picture is not None:
            data["image/png"] = base64.b64encode(picture).decode()
            metadata = {**metadata, "image/png": {"alt": data["text/plain"]}}  # HTML pages made by nbconvert read it
        if self.moves:
            metadata = {**metadata, "moves": True}
        return data, metadata
