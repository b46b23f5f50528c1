"""British spellings of English words as American ones.

>>> american("neighbourhoods"), american("organising"), american("surprising"), american("hour")
('neighborhoods', 'organizing', 'surprising', 'hour')

Rules cover families of words (`-our`, `-re`, `-ise`, doubled `l`, `ae` and `oe`), and a list the
rest. Both sides of a comparison are changed alike, so words that no American writes do no harm.
"""

from __future__ import annotations

import re
from functools import lru_cache

_OUR = """arb ard arm behavi cand clam col demean enam endeav fav ferv flav harb hon hum lab
neighb od parl ranc rig rum sav savi splend tum val vap vig"""
_RE = """accout calib cent fib goit louv lust maneuv manoeuv meag met lit mit nit och reconnoit
sab saltpet scept sepulch somb spect theat"""
_L = """bevel cancel caravel channel chisel counsel cudgel dial drivel duel enamel equal fuel funnel
gambol gravel grovel initial jewel label laurel level libel marshal marvel medal metal model panel
parcel pedal pencil quarrel ravel revel rival shovel shrivel signal snivel spiral stencil swivel
symbol total towel travel trammel tunnel unravel yodel"""
# Words that end in -ise everywhere, besides those whose ending is -aise, -oise, -uise or -wise.
_ISE = """advertise advise apprise arise chastise cerise chemise circumcise comprise compromise
concise demise despise devise disenfranchise enfranchise enterprise excise exercise expertise
franchise improvise incise marquise merchandise misadvise paradise precise premise previse promise
reprise revise sunrise supervise surmise surprise televise treatise unwise valise"""
_WORDS = """acknowledgement acknowledgment aeroplane airplane ageing aging analogue analog
appal appall artefact artifact axe ax catalogue catalog chequebook checkbook cheque check
cheques checks cosy cozy cosier cozier defence defense dialogue dialog disc disk discs disks
distil distill doughnut donut doughnuts donuts draught draft draughts drafts draughty drafty
enrol enroll enrolment enrollment fulfil fulfill fulfilment fulfillment furore furor gaol jail
grey gray greys grays greyish grayish greyhound grayhound instalment installment instil instill
jewellery jewelry judgement judgment kerb curb licence license licences licenses maths math
mediaeval medieval mould mold moulds molds mouldy moldy moult molt moustache mustache mum mom
offence offense offences offenses omelette omelet omelettes omelets plough plow ploughed plowed
ploughing plowing ploughs plows practise practice practised practiced practising practicing
pretence pretense programme program programmes programs pyjamas pajamas racquet racket
sceptic skeptic sceptical skeptical scepticism skepticism skilful skillful skilfully skillfully
smoulder smolder smouldering smoldering storey story storeys stories sulphur sulfur
tonne ton tonnes tons tsar czar tyre tire tyres tires vice vise wilful willful
whisky whiskey woollen woolen yoghurt yogurt yoghurts yogurts alfa alpha juliett juliet"""

_PAIRS = dict(zip(_WORDS.split()[::2], _WORDS.split()[1::2], strict=True))


def _any(words: str) -> str:
    """Pattern of any of these words."""
    return f"(?:{'|'.join(words.split())})"


_RULES = [
    (re.compile(rf"^((?:dis|mis|un|re|be)?{_any(_OUR)})our"), r"\1or"),
    (re.compile(rf"^(\w*?{_any(_RE)})re(s|d)?$"), r"\1er\2"),
    (re.compile(rf"^({_any(_L)})l(ed|er|ers|ery|ing|ings|ist|ists|or|ors|ous)$"), r"\1\2"),
    (re.compile(rf"^({_any('anal paral catal electrol hydrol')})ys(e|ed|es|er|ing)$"), r"\1yz\2"),
    (re.compile(r"^(an|syn)aesth(\w+)$"), r"\1esth\2"),
]
_AE_OE = re.compile(
    r"^(an|leuk|gyn|pal|h|f)ae[mcos]|paed|^archaeo|^(f|hom|am)oe[tob]|^oe(st|so|de)|rrhoea|^manoeuv"
)
_ISE_ENDING = re.compile(r"^(\w+)is(e|ed|es|er|ers|ing|ings|able|ation|ations|ational)$")
_NO_CHANGE = {*_ISE.split()}
_SHORTEST_ISE = 6  # letters: shorter ones (wise, poise, noise) keep their s


@lru_cache(65536)
def american(word: str) -> str:
    """American spelling of a lower-case word; other words are returned as they are."""
    if word in _PAIRS:
        return _PAIRS[word]
    for pattern, replacement in _RULES:
        word = pattern.sub(replacement, word)
    if _AE_OE.search(word):
        word = word.replace("oeu", "eu").replace("ae", "e").replace("oe", "e")
    match = _ISE_ENDING.match(word)
    return f"{match[1]}iz{match[2]}" if match and _changes(match[1]) else word


def _changes(stem: str) -> bool:
    """Whether a stem has -ize in America: `real` of `realise`, but not `surpr`."""
    base = stem + "ise"
    is_short = len(base) < _SHORTEST_ISE
    return not (is_short or base in _NO_CHANGE or stem[-1] in "aou" or base.endswith("wise"))
