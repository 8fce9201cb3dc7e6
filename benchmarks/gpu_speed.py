"""How fast are training and writing on a GPU?

The same races as on the processor, where there is a CUDA device: training in bf16 (32-bit weights under autocast), its
limit the bare matrix products in bf16, and decoding with 32-bit weights, its limit the reading of the weights.

At these sizes a GPU waits for Python, which asks for each kernel. Two more rows wait less, both with the same model:
`layers compiled` is `for layer in model.layers: layer.compile()` before the training, and `recorded` is
`foundry_lib.inference.cuda_graphs.Recorded(model)` in place of the model. What they take once is said below each table.
"""

import decoding_speed
import report
import training_speed

TRAINING = {"small": (32, 256), "medium": (32, 256)}
DECODING = {
    f"{preset}, batch {rows}, greedy": decoding_speed.Row(preset, rows=rows)
    for preset in ("small", "medium")
    for rows in (1, 64)
}


class Compiled(training_speed.Ours):
    def build(self, *given):
        model = super().build(*given)
        for layer in model.layers:
            layer.compile()
        return model


class Recorded(decoding_speed.Ours):
    """Keeps a recording for each number of rows."""

    def __init__(self, *given):
        super().__init__(*given)
        self.recorded = {}

    def writer(self, rows: int):
        from foundry_lib.inference.cuda_graphs import Recorded

        if rows not in self.recorded:
            self.recorded[rows] = Recorded(self.model, rows)
        return self.recorded[rows]


def main():
    import torch

    rounds, sections = report.options(__doc__, rounds=7).rounds, []
    if not torch.cuda.is_available():
        nothing = dict(title="Did not run here", header=["torch.cuda.is_available()"], rows=[["no such device"]])
        report.write("gpu", [nothing], [], 1)
        return
    name = torch.cuda.get_device_name()
    makers = {**training_speed.MAKERS, "layers compiled": Compiled}
    for preset, (rows, tokens) in TRAINING.items():
        found = training_speed.speed(preset, rows, tokens, rounds, steps=20, device="cuda", makers=makers)
        title = f"Training, {preset}, {rows} × {tokens} tokens, bf16, {name}"
        sections.append(training_speed.section(title, found))
        sections[-1]["notes"].append(decoding_speed.once("The first step", found["first"]))
    makers = {**decoding_speed.MAKERS, "recorded": Recorded}
    for preset in TRAINING:
        rows = {what: row for what, row in DECODING.items() if row.preset == preset}
        found = decoding_speed.speed(preset, rows, rounds, device="cuda", makers=makers)
        sections.append(decoding_speed.section(f"Decoding, {preset}, 32 bits, {name}", rows, found))
    report.write("gpu", sections, [], 1)


if __name__ == "__main__":
    main()
