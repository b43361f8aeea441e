"""The prompts of smollm2.json: written for the purpose, free of anyone's rights."""

LIGHTHOUSE = """\
The lighthouse at the end of the long stone pier had not been lit for eleven years when Marta came back to the village.
Her grandfather had kept it, and his father before him, and the brass plate beside the door still carried both of their
names. The harbour had changed. Where the fishing boats used to lie three deep there were now only two, painted the same
dull green, and a row of plastic kayaks that the hotel rented out by the hour. She carried the key in her coat pocket. It
was as long as her hand and heavier than it looked, and it turned in the lock as easily as if somebody had oiled it the
day before. Inside it smelled of salt, paraffin and old rope. Ninety-six steps led up to the lamp room; she had counted
them as a child, and she counted them again now, aloud, resting at forty and at eighty. At the top the great lens stood
under its canvas cover. She pulled the canvas away, and the glass threw small bright rainbows over the walls, over the
ceiling, and over her own two hands. On the table by the window lay the log book, open, with a pencil in the fold. The
last line was in her grandfather's writing: wind from the north-west, force six, sea rough, lamp lit at four. Below it
the page was empty. Marta sat down, sharpened the pencil with her pocket knife, and wrote the date."""

INVENTORY = "\n".join(
    f"- shelf {shelf}: {count} {thing}, checked by {who}"
    for shelf, (count, thing, who) in enumerate(
        [
            (12, "copper kettles", "Anna"),
            (7, "wool blankets", "Tomas"),
            (31, "glass jars", "Anna"),
            (4, "oil lamps", "Ines"),
            (18, "tin plates", "Tomas"),
            (9, "leather belts", "Ines"),
            (25, "wooden spoons", "Anna"),
            (3, "iron stoves", "Tomas"),
            (14, "paper maps", "Ines"),
            (6, "brass bells", "Anna"),
            (22, "candles", "Tomas"),
            (8, "clay pots", "Ines"),
        ],
        1,
    )
)

LIST = INVENTORY + "\n\nThe same list once more:\n"


def count_to(end):
    question = {"role": "user", "content": f"Count from 1 to {end}."}
    return [question, {"role": "assistant", "content": ", ".join(map(str, range(1, end + 1)))}, question]


# name → text, or messages for the chat template. All go on in an obvious way: that makes for wide margins.
PROMPTS = {
    "counting": "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,",
    "countdown": ", ".join(str(n) for n in range(60, 40, -1)) + ",",
    "unicode": "".join(f"| é{n} | ßñ{n} | 日本{n} | 🙂{n} |\n" for n in range(1, 9)),
    "list": LIST + "\n".join(INVENTORY.split("\n")[:2]) + "\n",
    "list_long": LIST * 3 + INVENTORY.split("\n")[0] + "\n",
    "chat": count_to(40),
    "chat_system": [{"role": "system", "content": "You count. Nothing else."}] + count_to(60),
}
