"""Training of networks and transducers, in a loop that can be interrupted and resumed.

>>> trainer = Trainer(objective, batches, Path("exp"), TrainingOptions(), OptimiserOptions())
>>> outcome = trainer.run()
"""

from asr_hlg.train.loop import Batches, Trainer
from asr_hlg.train.objective import FrameObjective
from asr_hlg.train.optimiser import OptimiserOptions
from asr_hlg.train.options import TrainingOptions
from asr_hlg.train.progress import Outcome, Progress

__all__ = [
    "Batches",
    "FrameObjective",
    "OptimiserOptions",
    "Outcome",
    "Progress",
    "Trainer",
    "TrainingOptions",
]
