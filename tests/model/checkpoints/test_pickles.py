"""Pickles of training runs pass, whatever they share."""

from __future__ import annotations

from pathlib import Path

import torch

from tessera_mosaic.model.checkpoints.pickles import check_pickle


def test_a_whole_training_state_passes(tmp_path: Path) -> None:
    layer = torch.nn.Linear(4, 4)
    weights, bias = layer.parameters()
    optimizer = torch.optim.AdamW([{"params": [weights]}, {"params": [bias]}], betas=(0.9, 0.95))
    layer(torch.zeros(1, 4)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    config = {"sizes": [1, 2], "shape": (1, (2, 3)), "dtype": torch.float32, "large": 2**80}
    state = {
        "model": layer.state_dict(),
        "parameters": dict(layer.named_parameters()),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "config": config | {"again": config["sizes"], "device": torch.device("cpu")},
        "half": torch.zeros(2, dtype=torch.bfloat16),
    }
    torch.save(state, tmp_path / "state.pt")
    reader = torch._C.PyTorchFileReader(str(tmp_path / "state.pt"))
    check_pickle(reader.get_record("data.pkl"))
