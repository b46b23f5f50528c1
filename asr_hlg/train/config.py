"""Training configs: one TOML file that says what is trained, on what, and how.

    task = "digits"                       # the table in which the result is listed
    graph = "../graphs/digits.toml"       # recipe of L and H, and of the graph for the dev set

    [data]
    train = ["data/train.jsonl.gz"]       # Lhotse manifests, Kaldi data folders, folders of sounds
    dev = ["data/dev.jsonl.gz"]           # for early stop; may be left out

    [augment]                             # of recordings: asr_hlg.data.Augmentation
    speeds = [0.9, 1.0, 1.1]

    [spec_augment]                        # of features: asr_hlg.data.SpecAugmentOptions
    time_masks = 2

    [network]
    kind = "blstm"                        # with fields of its configuration; or
    # init = "hama"                       # a trained network to start from: hama, or a file

    [loss]
    kind = "ctc"                          # ctc, hmm, lf_mmi, cross_entropy
    regularise = 0.0                      # keep close to the initial network: 0.2 for adaptation

    [loader]                              # asr_hlg.data.LoaderOptions
    max_duration = 60.0                   # seconds of sound in a batch

    [optimiser]                           # asr_hlg.train.OptimiserOptions
    learning_rate = 1e-3

    [training]                            # asr_hlg.train.TrainingOptions
    epochs = 20
    patience = 5

    [hybrid]                              # cross_entropy from transcripts: asr_hlg.train.hybrid
    start = "full_sum"
    rounds = [5, 15]

    [search]                              # for dev and test sets; default: the recipe's own
    acoustic_scale = 1.0

    [[test]]                              # as many as you like, decoded with the final model
    name = "theo"
    cuts = ["data/theo.jsonl.gz"]
    graph = "../graphs/digit-loop.toml"   # default: the one above

Paths are relative to the config.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from asr_hlg.data import Augmentation, LoaderOptions, SpecAugmentOptions
from asr_hlg.errors import OptionError
from asr_hlg.settings import RelativeToFile, check_keys, read_toml, section, tomllib
from asr_hlg.train.optimiser import OptimiserOptions
from asr_hlg.train.options import TrainingOptions

NamedPath = Annotated[Path, RelativeToFile()]
LossKind = Literal["ctc", "hmm", "lf_mmi", "cross_entropy"]


@dataclass(frozen=True)
class DataSection:
    """Where the cuts are; each as :func:`asr_hlg.data.cuts` takes it.

    ``drop_short`` leaves utterances that are too short for their transcript out, with a note,
    where they would otherwise be an error. ``guess_words`` does the same for words that the
    lexicon lacks: they get the pronunciation that :mod:`asr_hlg.lexicon.g2p` guesses.
    """

    train: list[NamedPath]
    dev: list[NamedPath] = field(default_factory=list)
    drop_short: bool = False
    guess_words: bool = False


@dataclass(frozen=True)
class LossSection:
    """Which loss, and what belongs to it.

    Attributes
    ----------
    kind : {"ctc", "hmm", "lf_mmi", "cross_entropy"}
    regularise : float
        In [0, 1): weight of the distance to the initial network's outputs, see
        :class:`asr_hlg.train.FrameObjective`.
    prior_scale : float
        Of ``hmm``: exponent of the priors; 1 by default.
    prior_momentum : float
        Of ``hmm``: how slowly the priors follow the network, 0.9 by default. Uniform priors would
        let the network give nearly all frames to one state.
    """

    kind: LossKind
    regularise: float = 0.0
    prior_scale: float | None = None
    prior_momentum: float | None = None

    def __post_init__(self):
        if not 0 <= self.regularise < 1:
            raise OptionError(f"regularise must be at least 0 and below 1, not {self.regularise}")
        for name in ("prior_scale", "prior_momentum"):
            if getattr(self, name) is not None and self.kind != "hmm":
                raise OptionError(f"{name} belongs to the loss hmm, not to {self.kind}")


@dataclass(frozen=True)
class HybridSection:
    """Rounds of alignment and training by cross-entropy; see :mod:`asr_hlg.train.hybrid`.

    Attributes
    ----------
    rounds : list of int
        The epochs of each.
    start : {"uniform", "full_sum"}
        What the first round trains on: recordings divided evenly among their states, or the sum
        over all alignments (:class:`asr_hlg.losses.HmmFullSum`).
    """

    rounds: list[int]
    start: Literal["uniform", "full_sum"] = "uniform"

    def __post_init__(self):
        if self.start not in ("uniform", "full_sum"):
            raise OptionError(f"start is uniform or full_sum, not {self.start!r}")
        if not self.rounds or min(self.rounds) < 1:
            raise OptionError(f"rounds are numbers of epochs, at least 1, not {self.rounds}")


@dataclass(frozen=True)
class NetworkSection:
    """A kind of network with its fields, or a trained one to start from.

    Attributes
    ----------
    kind : str, optional
        As for :func:`asr_hlg.acoustic.nets.create`.
    init : str, optional
        ``hama``, or the path of a network's file.
    trainable : tuple of str
        Parts of the names of weights: only weights with one of them change, so that little data
        can adapt a network (``norm``: scales and shifts of its normalisations). Empty: all do.
    fields : mapping
        Of the kind's configuration, where they are not its defaults; beside ``init``, ``dropout``
        alone can be changed.
    """

    kind: str | None = None
    init: str | None = None
    trainable: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TestSet:
    """Cuts that the final model is tested on, with a graph of their own if they need one."""

    name: str
    cuts: list[NamedPath]
    graph: NamedPath | None = None


@dataclass(frozen=True)
class TrainingConfig:
    """All that a training needs to know; see the module's example.

    ``content`` is what the file says, for checkpoints.
    """

    path: Path
    content: Mapping[str, Any]
    graph: Path
    data: DataSection
    network: NetworkSection
    loss: LossSection
    augment: Augmentation = field(default_factory=Augmentation)
    spec_augment: SpecAugmentOptions | None = None
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    hybrid: HybridSection | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    test: Sequence[TestSet] = ()
    task: str = ""

    @classmethod
    def read(cls, path: str | Path, changes: Sequence[str] = ()) -> TrainingConfig:
        """Read a config.

        Parameters
        ----------
        path : str or Path
        changes : sequence of str
            ``section.key=value`` that replace or add to what the file has; a value is written as
            in TOML, quotes around a word left out if you like.

        Raises
        ------
        OptionError
            Naming the key that is unknown, or has a value that does not fit.
        """
        path = Path(path)
        content = read_toml(path, "training config")
        for change in changes:
            _apply(content, change, path)
        known = [f.name for f in fields(cls) if f.name not in ("path", "content")]
        check_keys(content, known, path)
        for name in ("graph", "data", "network", "loss"):
            if name not in content:
                raise OptionError(
                    f"{name} is missing", path=path, remedy="see asr-hlg train --help"
                )
        if ("hybrid" in content) and content["loss"].get("kind") != "cross_entropy":
            raise OptionError("[hybrid] is for the loss cross_entropy", path=path)
        top = section(_Top, {n: content[n] for n in ("graph", "task") if n in content}, "", path)
        sections: dict[str, Any] = {
            name: section(kind, content[name], name, path)
            for name, kind in _SECTIONS.items()
            if name in content
        }
        return cls(
            path=path,
            content=content,
            graph=top.graph,
            task=top.task or path.stem,
            network=_network(content["network"], path),
            search=_table(content, "search", path),
            test=[
                section(TestSet, table, "test", path, index=index)
                for index, table in enumerate(content.get("test", ()))
            ],
            **sections,
        )

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to fit: all but searching and testing."""
        aside = ("search", "test", "task", "training", "optimiser")
        return json.loads(json.dumps({k: v for k, v in self.content.items() if k not in aside}))


@dataclass(frozen=True)
class _Top:
    """The keys that stand in no section."""

    graph: NamedPath
    task: str = ""


_SECTIONS: dict[str, type] = {
    "data": DataSection,
    "loss": LossSection,
    "augment": Augmentation,
    "spec_augment": SpecAugmentOptions,
    "loader": LoaderOptions,
    "optimiser": OptimiserOptions,
    "training": TrainingOptions,
    "hybrid": HybridSection,
}


def _network(values: Any, path: Path) -> NetworkSection:
    if not isinstance(values, Mapping):
        raise OptionError("[network] must be a table", path=path)
    own = {name: values[name] for name in ("kind", "init", "trainable") if name in values}
    others = {name: value for name, value in values.items() if name not in own}
    found = section(NetworkSection, own, "network", path)
    if (found.kind is None) == (found.init is None):
        raise OptionError("[network] needs either kind or init", path=path)
    settled = [name for name in others if name != "dropout"] if found.init is not None else []
    if settled:
        raise OptionError(
            f"[network] {settled[0]} is settled by init", path=path, remedy="remove it"
        )
    init = found.init
    if init is not None and init != "hama":
        init = str(path.parent / init)
    return NetworkSection(found.kind, init, found.trainable, others)


def _table(content: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    values = content.get(name, {})
    if not isinstance(values, Mapping):
        raise OptionError(f"[{name}] must be a table", path=path)
    return values


def _apply(content: dict[str, Any], change: str, path: Path) -> None:
    """Make one change of the form ``section.key=value``."""
    name, separator, value = change.partition("=")
    *tables, key = name.strip().split(".")
    if not separator or not key:
        raise OptionError(f"{change!r} is not of the form section.key=value")
    for table in tables:
        content = content.setdefault(table, {})
        if not isinstance(content, dict):
            raise OptionError(f"{name}: {table} is no table", path=path)
    try:
        content[key] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        content[key] = value.strip()
