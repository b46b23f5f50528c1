"""Training configs: one TOML file with the data, the network, the loss and all options.

    task = "digits"                       # name of the table in which the result is listed
    graph = "../graphs/digits.toml"       # recipe of L, H and the graph; see asr-hlg graph --help

    [data]
    train = ["data/train.jsonl.gz"]       # Lhotse manifests, Kaldi data folders, or folders of
    dev = ["data/dev.jsonl.gz"]           # recordings with a file `text`; dev is optional

    [augment]                             # asr_hlg.data.Augmentation; also volumes, noise, join
    speeds = [0.9, 1.0, 1.1]

    [spec_augment]                        # asr_hlg.data.SpecAugmentOptions; also frequency_masks, …
    time_masks = 2

    [network]
    kind = "blstm"                        # cnn, cnn_lstm, blstm, tdnn, conformer, transducer, with
                                          # the fields of its configuration; or
    # init = "hama"                       # a trained network: hama, or the file of a model (with
                                          # kind = "transducer", a new one on this encoder)

    [loss]
    kind = "ctc"                          # ctc, hmm, lf_mmi, transducer; cross_entropy for cuts
                                          # with alignments, or with [hybrid]
    regularise = 0.0                      # for adaptation, 0.2: stay close to the initial network

    [pruned_loss]                         # asr_hlg.transducer.PrunedLossOptions; also warm_up, …
    prune_range = 5

    [loader]                              # asr_hlg.data.LoaderOptions; also workers, memory, …
    max_duration = 60.0                   # seconds of sound in a batch

    [optimiser]                           # asr_hlg.train.OptimiserOptions; also warm_up, clip, …
    learning_rate = 1e-3

    [training]                            # asr_hlg.train.TrainingOptions; also average, seed, …
    epochs = 20
    patience = 5

    [hybrid]                              # cross_entropy from transcripts: asr_hlg.train.hybrid
    start = "full_sum"
    rounds = [5, 15]                      # epochs before each new alignment

    [tree]                                # pdfs in context, from a round on: asr_hlg.train.tree
    round = 2
    context = 3                           # asr_hlg.train.options.TreeOptions; also max_leaves, …

    [[stage]]                             # trainings in turn, each from the model of the one
    network.trainable = ["norm"]          # before; keys that differ from those of the file

    [[stage]]
    training.epochs = 5

    [search]                              # for dev and test sets, if not as in the recipe
    acoustic_scale = 1.0

    [[test]]                              # any number of test sets for the final model
    name = "theo"
    cuts = ["data/theo.jsonl.gz"]
    graph = "../graphs/digit-loop.toml"   # if not the one above

Paths are relative to the config.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from asr_hlg.data import Augmentation, LoaderOptions, SpecAugmentOptions
from asr_hlg.errors import OptionError
from asr_hlg.graph.recipe import Recipe
from asr_hlg.settings import (
    Bounded,
    Fraction,
    check_keys,
    read_toml,
    section,
    tomllib,
)
from asr_hlg.train.optimiser import OptimiserOptions
from asr_hlg.train.options import HybridSection, NamedPath, TrainingOptions, TreeSection
from asr_hlg.transducer import PrunedLossOptions

LossKind = Literal["ctc", "hmm", "lf_mmi", "cross_entropy", "transducer"]


@dataclass(frozen=True)
class DataSection:
    """Sources of the cuts, each as :func:`asr_hlg.data.cuts` takes it.

    Attributes
    ----------
    train, dev : list of Path
    drop_short : bool
        Leave out utterances that are too short for their transcript, with a note; otherwise they
        are an error.
    guess_words : bool
        Give words that the lexicon lacks the pronunciation that :mod:`asr_hlg.lexicon.g2p`
        guesses, with a note; otherwise they are an error.
    """

    train: list[NamedPath]
    dev: list[NamedPath] = field(default_factory=list)
    drop_short: bool = False
    guess_words: bool = False


@dataclass(frozen=True)
class LossSection(Bounded):
    """The loss and its options.

    Attributes
    ----------
    kind : {"ctc", "hmm", "lf_mmi", "cross_entropy", "transducer"}
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
    regularise: Fraction = 0.0
    prior_scale: float | None = None
    prior_momentum: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.regularise and self.kind == "transducer":
            raise OptionError("regularise is for losses of frames, not for a transducer's")
        for name in ("prior_scale", "prior_momentum"):
            if getattr(self, name) is not None and self.kind != "hmm":
                raise OptionError(f"{name} belongs to the loss hmm, not to {self.kind}")


@dataclass(frozen=True)
class NetworkSection:
    """A new network of some kind, or a trained one to start from.

    Attributes
    ----------
    kind : str, optional
        As for :func:`asr_hlg.acoustic.nets.create`, or ``transducer``.
    init : str, optional
        ``hama``, or the path of a network's file. With the kind ``transducer``, its encoder.
    trainable : tuple of str
        Parts of the names of weights: only weights with one of them change, so that little data
        can adapt a network (``norm``: scales and shifts of its normalisations). Empty: all do.
    fields : mapping
        Fields of the kind's configuration that differ from their defaults; of a trained network,
        only ``dropout`` can be changed.
    """

    kind: str | None = None
    init: str | None = None
    trainable: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, values: Any, path: Path) -> NetworkSection:
        """Read the table ``[network]`` of a config."""
        if not isinstance(values, Mapping):
            raise OptionError("[network] must be a table", path=path)
        fields = dict(values)
        common = {
            name: fields.pop(name) for name in ("kind", "init", "trainable") if name in fields
        }
        network = section(NetworkSection, common, "network", path)
        if network.kind is None and network.init is None:
            raise OptionError("[network] needs either kind or init", path=path)
        if network.init is not None and network.kind not in (None, "transducer"):
            raise OptionError("[network] needs either kind or init, not both", path=path)
        fixed = [name for name in fields if name != "dropout" and network.kind is None]
        if fixed:
            raise OptionError(
                f"[network] {fixed[0]} is determined by init", path=path, remedy="remove it"
            )
        init = network.init
        if init is not None and init != "hama":
            init = str(path.parent / init)
        return replace(network, init=init, fields=fields)


@dataclass(frozen=True)
class TestSet:
    """Cuts to test the final model on, and the recipe of their graph if it is another one."""

    name: str
    cuts: list[NamedPath]
    graph: NamedPath | None = None


@dataclass(frozen=True)
class TrainingConfig:
    """A training config; see the module's example.

    Attributes
    ----------
    path : Path
    content : mapping
        The content of the file, for checkpoints.
    stages : sequence of TrainingConfig
        A config for each ``[[stage]]``.
    tree_file : Path, optional
        The table of pdfs in context with which the recipes are compiled.
    graph, data, network, ... :
        The keys and sections of the file.
    """

    path: Path
    content: Mapping[str, Any]
    graph: Path
    data: DataSection
    network: NetworkSection
    loss: LossSection
    augment: Augmentation = field(default_factory=Augmentation)
    spec_augment: SpecAugmentOptions | None = None
    pruned_loss: PrunedLossOptions | None = None
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    hybrid: HybridSection | None = None
    tree: TreeSection | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    test: Sequence[TestSet] = ()
    task: str = ""
    stages: Sequence[TrainingConfig] = ()
    tree_file: Path | None = None

    @classmethod
    def read(cls, path: str | Path, changes: Sequence[str] = ()) -> TrainingConfig:
        """Read a config.

        Parameters
        ----------
        path : str or Path
        changes : sequence of str
            ``section.key=value`` that replace or add to the keys of the file and of its stages; a
            value is written as in TOML, where quotes around a word may be left out.

        Raises
        ------
        OptionError
            Naming the key that is unknown, or has a value that does not fit.
        """
        path = Path(path)
        content = read_toml(path, "training config")
        stages = _tables(content, "stage", path)
        content.pop("stage", None)
        contents = [content, *(_merged(content, stage) for stage in stages)]
        for each in contents:
            for change in changes:
                _apply(each, change, path)
        config, *configs = (cls._from_content(each, path) for each in contents)
        if configs and config.hybrid is not None:
            raise OptionError("has both [hybrid] and [[stage]]; use one of them", path=path)
        return replace(config, stages=configs)

    @classmethod
    def _from_content(cls, content: Mapping[str, Any], path: Path) -> TrainingConfig:
        known = [f.name for f in fields(cls) if f.name not in _NOT_KEYS]
        check_keys(content, known, path)
        for name in ("graph", "data", "network", "loss"):
            if name not in content:
                raise OptionError(
                    f"{name} is missing", path=path, remedy="see asr-hlg train --help"
                )
        top = section(_Top, {n: content[n] for n in ("graph", "task") if n in content}, "", path)
        sections: dict[str, Any] = {
            name: section(options, content[name], name, path)
            for name, options in _SECTIONS.items()
            if name in content
        }
        for name, loss in (("hybrid", "cross_entropy"), ("pruned_loss", "transducer")):
            if name in sections and sections["loss"].kind != loss:
                raise OptionError(f"[{name}] is for the loss {loss}", path=path)
        if "tree" in sections and "hybrid" not in sections:
            raise OptionError("[tree] needs the rounds of [hybrid]", path=path)
        search = content.get("search", {})
        if not isinstance(search, Mapping):
            raise OptionError("[search] must be a table", path=path)
        return cls(
            path=path,
            content=content,
            graph=top.graph,
            task=top.task or path.stem,
            network=NetworkSection.read(content["network"], path),
            search=search,
            test=[
                section(TestSet, table, "test", path) for table in _tables(content, "test", path)
            ],
            **sections,
        )

    def identity(self) -> dict[str, Any]:
        """The keys that must be the same for a checkpoint to fit: all but searching and testing."""
        excluded = ("search", "test", "task", "training", "optimiser")
        kept = {key: value for key, value in self.content.items() if key not in excluded}
        identity: dict[str, Any] = json.loads(json.dumps(kept))
        return identity

    def recipe(self, path: Path | None = None) -> Recipe:
        """Recipe of the graph, or another one, with the tree that has been grown, if any."""
        recipe = Recipe.read(path or self.graph)
        if self.tree_file is None or self.tree is None:
            return recipe
        context: Any = self.tree.context
        tree = str(self.tree_file.absolute())
        return replace(recipe, topology=replace(recipe.topology, context=context, tree=tree))

    def graph_folder(self, recipe: Recipe) -> Path | None:
        """Folder of a compiled graph where it is not beside its recipe."""
        if self.tree_file is None:
            return None
        return self.tree_file.parent / "graphs" / recipe.path.stem

    def starting_from(self, model: Path) -> TrainingConfig:
        """The same config with a trained network to start from."""
        fields = {k: v for k, v in self.network.fields.items() if k == "dropout"}
        network = replace(self.network, kind=None, init=str(model), fields=fields)
        return replace(self, network=network)


@dataclass(frozen=True)
class _Top:
    """The keys outside all sections."""

    graph: NamedPath
    task: str = ""


_SECTIONS: dict[str, type] = {
    "data": DataSection,
    "loss": LossSection,
    "augment": Augmentation,
    "spec_augment": SpecAugmentOptions,
    "pruned_loss": PrunedLossOptions,
    "loader": LoaderOptions,
    "optimiser": OptimiserOptions,
    "training": TrainingOptions,
    "hybrid": HybridSection,
    "tree": TreeSection,
}
_NOT_KEYS = ("path", "content", "stages", "tree_file")


def _tables(content: Mapping[str, Any], name: str, path: Path) -> list[Mapping[str, Any]]:
    """The tables ``[[name]]`` of a config."""
    tables = content.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise OptionError(f"[[{name}]] must be a list of tables", path=path)
    return tables


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested tables in which some keys have other values."""
    merged = copy.deepcopy(dict(content))
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merged(old, value)
        merged[key] = value
    return merged


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
