"""English phones: the 39 of ARPAbet without stress, and the IPA symbols of each."""

from __future__ import annotations

SILENCE = "SIL"

_IPA_OF_PHONE = {
    "AA": "ɑ ɒ",
    "AE": "æ a",
    "AH": "ʌ ə ɐ ɘ",
    "AO": "ɔ",
    "AW": "aʊ",
    "AY": "aɪ",
    "B": "b",
    "CH": "t͡ʃ",
    "D": "d ɖ",
    "DH": "ð",
    "EH": "ɛ eə",
    "ER": "ɝ ɚ ɜ",
    "EY": "eɪ e",
    "F": "f",
    "G": "g ɡ",
    "HH": "h ɦ",
    "IH": "ɪ",
    "IY": "i",
    "JH": "d͡ʒ",
    "K": "k kʰ c",
    "L": "l ɫ",
    "M": "m",
    "N": "n",
    "NG": "ŋ",
    "OW": "oʊ o",
    "OY": "ɔɪ",
    "P": "p pʰ",
    "R": "ɹ r ɾ",
    "S": "s",
    "SH": "ʃ",
    "T": "t tʰ ʈ",
    "TH": "θ",
    "UH": "ʊ",
    "UW": "u ʉ",
    "V": "v",
    "W": "w",
    "Y": "j",
    "Z": "z",
    "ZH": "ʒ",
}

ARPABET: tuple[str, ...] = tuple(_IPA_OF_PHONE)
"""The 39 phones in alphabetical order, without blank and silence."""

IPA_TO_ARPABET: dict[str, str] = {
    ipa: phone for phone, symbols in _IPA_OF_PHONE.items() for ipa in symbols.split()
}
"""The phone of each IPA symbol; only symbols of English sounds are in it."""

NEAREST: dict[str, str] = {
    ipa: phone
    for phone, symbols in {
        "AH": "ɤ",
        "B": "β ɓ",
        "CH": "tɕ",
        "D": "ɗ",
        "ER": "ø œ",
        "F": "ɸ",
        "G": "ɣ",
        "HH": "x χ ħ ç",
        "IH": "ɨ",
        "L": "ɮ",
        "M": "ɱ",
        "N": "ɲ",
        "NG": "ɴ",
        "OW": "ɵ",
        "R": "ʁ ʀ ɻ ɽ ˞",
        "SH": "ɕ ʂ",
        "UH": "ʏ",
        "UW": "y ɯ",
        "V": "ʋ",
        "W": "ɥ ɰ",
        "Y": "ʝ ʎ",
        "ZH": "ʑ ʐ",
    }.items()
    for ipa in symbols.split()
}
"""The nearest English phone of IPA symbols without diacritics for other sounds."""

LETTERS: dict[str, tuple[str, ...]] = {
    name[0]: tuple(name.split()[1:])
    for name in (
        "a EY",
        "b B IY",
        "c S IY",
        "d D IY",
        "e IY",
        "f EH F",
        "g JH IY",
        "h EY CH",
        "i AY",
        "j JH EY",
        "k K EY",
        "l EH L",
        "m EH M",
        "n EH N",
        "o OW",
        "p P IY",
        "q K Y UW",
        "r AA R",
        "s EH S",
        "t T IY",
        "u Y UW",
        "v V IY",
        "w D AH B AH L Y UW",
        "x EH K S",
        "y W AY",
        "z Z IY",
    )
}
"""The English names of the letters."""
