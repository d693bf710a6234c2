"""Makes label.ttf of the three fonts that NOTICE names: python make.py NotoSans.ttf NotoSansSC.ttf NotoSansKR.ttf (fonttools 4.60.1).

Letters of Europe come from the first, ideographs and kana from the second, Hangul from the third. Only outlines, widths and the map of
characters are kept: text is set without shaping, so no character is taken that needs it.
"""

import os
import sys
import tempfile

from fontTools import subset
from fontTools.merge import Merger
from fontTools.ttLib import TTFont


def of_encoding(name, rows, columns):
    """Every character of two bytes."""
    found = set()
    for row in rows:
        for column in columns:
            try:
                text = bytes([row, column]).decode(name)
            except UnicodeDecodeError:
                continue
            found.update(ord(character) for character in text if len(text) == 1)
    return found


def spans(*ends):
    return {code for first, last in ends for code in range(first, last + 1)}


HIGH = range(0xA1, 0xFF)
# Latin with all its accents, Greek, Cyrillic; quotes, dashes, currencies.
EUROPE = spans((0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x1E00, 0x1EFF), (0x2010, 0x2027), (0x2030, 0x205E))
EUROPE |= spans((0x20A0, 0x20C0), (0x2116, 0x2116), (0x2122, 0x2122)) | {0xFFFD}
# Simplified: GB 2312. Traditional: the common half of Big5. Japanese: JIS X 0208.
EAST = of_encoding("gb2312", HIGH, HIGH) | of_encoding("euc_jp", HIGH, HIGH)
EAST |= of_encoding("big5", range(0xA1, 0xC7), range(0x40, 0xFF)) | spans((0x3000, 0x30FF), (0xFF01, 0xFFEE))
HANGUL = {code for code in of_encoding("euc_kr", HIGH, HIGH) if 0xAC00 <= code <= 0xD7A3 or 0x3131 <= code <= 0x318E}
# What stands on, under or around the character before it, and what has no width.
SHAPED = spans((0x300, 0x36F), (0x483, 0x489), (0x200B, 0x200F), (0x2028, 0x202F), (0x20DD, 0x20E0), (0x3099, 0x309A), (0xAD, 0xAD))

TABLES = ["GSUB", "GPOS", "GDEF", "BASE", "STAT", "vhea", "vmtx", "gasp", "prep", "fpgm", "cvt ", "DSIG", "VORG", "meta", "avar", "HVAR"]


def taken(path, wanted, folder):
    """A font with these characters alone, as far as it has them, and which it has."""
    options = subset.Options(hinting=False, glyph_names=False, notdef_outline=True, recalc_timestamp=False, drop_tables=TABLES)
    options.layout_features = []
    font = subset.load_font(path, options)
    has = wanted & set(font.getBestCmap())
    maker = subset.Subsetter(options)
    maker.populate(unicodes=has)
    maker.subset(font)
    part = os.path.join(folder, os.path.basename(path))
    subset.save_font(font, part, options)
    return part, has


def main(europe, east, hangul):
    with tempfile.TemporaryDirectory() as folder:
        parts, left = [], set()
        for path, wanted in ((europe, EUROPE), (east, EUROPE | EAST), (hangul, HANGUL)):
            part, has = taken(path, wanted - SHAPED - left, folder)
            parts.append(part)
            left |= has
        font = Merger().merge(parts)
    for record in list(font["name"].names):
        font["name"].removeNames(nameID=record.nameID)
    says = {
        0: "Copyright 2022 The Noto Project Authors; 2014-2021 Adobe, with Reserved Font Name 'Source'",
        1: "Facemill Label",
        2: "Regular",
        4: "Facemill Label",
        6: "FacemillLabel-Regular",
        13: "This Font Software is licensed under the SIL Open Font License, Version 1.1.",
    }
    for number, text in says.items():
        font["name"].setName(text, number, 3, 1, 0x409)
    font["head"].created = font["head"].modified = TTFont(east)["head"].modified
    font.recalcTimestamp = False
    font.save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "label.ttf"))


main(*sys.argv[1:])
