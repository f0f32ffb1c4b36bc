# SPDX-License-Identifier: GPL-2.0
"""Netlink attributes by chance: trees that a grammar allows, and what changes one so that it is wrong."""

from netlink import NESTED, attribute

WORDS = (0, 1, 2, 3, 5, 17, 47, 100, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def words(size, order="big"):
    return lambda chance: (chance.choice(WORDS) & (1 << 8 * size) - 1).to_bytes(size, order)


def among(values):
    return lambda chance: chance.choice(values)


def some_bytes(most):
    return lambda chance: chance.randbytes(chance.randrange(most + 1))


class Mutator:
    """A tree is a list of [number, bytes or tree]; a grammar is a dictionary: what is nested in an
    attribute is another one, what is not is a function that makes a value."""

    def __init__(self, chance):
        self.chance = chance

    def grow(self, grammar, density):
        """Attributes of a grammar, so many of them."""
        tree = []
        for number, what in grammar.items():
            if self.chance.random() < density:
                value = self.grow(what, self.chance.choice((0.3, 0.7, 1))) if isinstance(what, dict) else \
                    what(self.chance)
                tree.append([number, value])
        return tree

    def put(self, tree, grammar, place):
        """Adds the attribute at a place, if it is not there."""
        number, *further = place
        part = next((part for part in tree if part[0] == number), None)
        if part is None:
            what = grammar[number]
            part = [number, [] if isinstance(what, dict) else what(self.chance)]
            tree.append(part)
        if further:
            self.put(part[1], grammar[number], further)

    def nodes(self, tree):
        for index, (_, value) in enumerate(tree):
            yield tree, index
            if isinstance(value, list):
                yield from self.nodes(value)

    def change(self, tree, grammar):
        """One thing is wrong afterwards."""
        chance, nodes = self.chance, list(self.nodes(tree))
        if not nodes:
            return
        siblings, index = chance.choice(nodes)
        number, value = siblings[index]
        kind = chance.randrange(16)
        if kind == 0:
            del siblings[index]
        elif kind == 1:
            siblings.append([number, value])
        elif kind == 2:
            siblings[index] = [chance.choice((0, number + 1, chance.randrange(40), number | 0x1F00, 0x3FFF)), value]
        elif kind == 3:
            siblings[index] = [number | chance.choice((NESTED, 0x4000, NESTED | 0x4000)), value]
        elif kind == 4:
            chance.shuffle(siblings)
        elif kind == 5:
            other, place = chance.choice(nodes)
            if other is siblings:
                other[place], siblings[index] = siblings[index], other[place]
        elif kind == 6:
            chance.choice(nodes)[0].append(chance.choice(self.grow(grammar, 0.3) or [[1, b""]]))
        elif kind == 7:
            for _ in range(chance.choice((1, 3, 30, 100))):
                value = [[number, value]]
            siblings[index] = [number, value]
        elif isinstance(value, list):
            siblings[index] = [number, chance.choice(([], b"", chance.randbytes(5), b"\xff" * 8))]
        else:
            size = len(value)
            siblings[index] = [number, chance.choice((
                value[:-1], value + b"\0", value + bytes(60), b"", bytes(size), b"\xff" * size,
                chance.randbytes(size), (int.from_bytes(value, "big") ^ 1 << chance.randrange(8 * size or 1))
                .to_bytes(size + 1, "big")[1:], [[number, value]], chance.randbytes(chance.choice((3, 400, 4000)))))]

    def pack(self, tree, depth=0):
        out = []
        for number, value in tree:
            if isinstance(value, list):
                value, number = self.pack(value, depth + 1), number ^ NESTED
            # What finds no room in its parent's length is left out.
            if len(value) < 60000:
                out.append(attribute(number & 0xFFFF, value))
        return b"".join(out)[:60000]
