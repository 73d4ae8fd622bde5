"""How providers are searched: words compared by sound, symptoms that lead to specialties, and what a search may ask.

Names and symptoms of India's languages reach Latin letters in many spellings. Words are compared by a folding that
maps the common variants of one sound to the same letters: Deepa and Dipa, Lakshmi and Laxmi, Vijay and Wijay.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, StringConstraints

from models.base import Model
from models.providers import Clinic, Location, Provider, VisitMode

LONGEST_WORD: Final = 24
MOST_WORDS: Final = 8
SEARCHED_DAYS: Final = 30
"""How many days ahead, today included, a search knows which have free times."""

NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Stands where no free time is known, so that it comes last."""

NO_FEE: Final = 1_000_000_000
"""Stands in paise where a provider offers nothing yet."""

_BETWEEN_WORDS: Final = re.compile(r"[\s.,;:/()&'’\"-]+")
_SHORTEST_SYMPTOM: Final = 3

_SOUNDS: Final[Mapping[str, str]] = {
    # Long and short vowels are written alike as often as not: ee/i, oo/u, and y for i.
    "e": "i", "y": "i", "o": "u",
    # One letter of the Indian scripts, two of the Latin one.
    "w": "v", "z": "j", "f": "p", "c": "k", "q": "k", "x": "ks",
}  # fmt: skip
_VOWELS: Final = frozenset("aeiouy")

CITY_NAMES: Final[Mapping[str, str]] = {
    "bangalore": "bengaluru", "bombay": "mumbai", "madras": "chennai", "calcutta": "kolkata", "poona": "pune",
    "cochin": "kochi", "trivandrum": "thiruvananthapuram", "mysore": "mysuru", "mangalore": "mangaluru",
    "gurgaon": "gurugram", "baroda": "vadodara", "allahabad": "prayagraj", "pondicherry": "puducherry",
    "vizag": "visakhapatnam", "calicut": "kozhikode", "benares": "varanasi",
}  # fmt: skip
"""Former names, which people go on using."""

SYMPTOMS: Final[Mapping[str, str]] = {
    "general medicine": "fever bukhar cold sardi cough khansi flu jwaram body ache weakness kamzori infection bp sugar",
    "dermatology": "skin twacha rash itching khujli acne pimples muhase hair baal eczema fungal dandruff",
    "cardiology": "heart dil chest pain palpitations bp blood pressure cholesterol breathless",
    "dentistry": "tooth teeth dant daant gum toothache cavity braces dental root canal",
    "paediatrics": "child children baby bachcha bachche vaccination kids newborn pediatrics",
    "gynaecology": "pregnancy garbh periods women mahila delivery pcos menstrual gynecology",
    "orthopaedics": "bone haddi joint jodo knee ghutna back kamar fracture spine orthopedics arthritis",
    "ophthalmology": "eye eyes aankh vision chashma glasses cataract motiyabind",
    "emergency medicine": "fever bukhar injury accident bleeding chest pain poisoning",
    "obstetrics and gynaecology": "pregnancy garbh periods women mahila delivery pcos menstrual gynecology",
    "ear, nose and throat": "ear kaan nose naak throat gala sinus hearing tonsils ent",
    "ent": "ear kaan nose naak throat gala sinus hearing tonsils",
    "psychiatry": "depression anxiety tension stress sleep neend panic mental",
    "neurology": "headache sirdard migraine seizure mirgi stroke numbness dizziness chakkar",
    "gastroenterology": "stomach pet acidity gas constipation kabz liver vomiting ulti diarrhoea dast",
    "endocrinology": "diabetes sugar madhumeh thyroid hormone",
    "diabetology": "diabetes sugar madhumeh",
    "pulmonology": "asthma dama breathing saans lungs cough",
    "urology": "urine peshab kidney stone pathri prostate",
    "nephrology": "kidney gurda dialysis",
    "oncology": "cancer tumour lump",
    "physiotherapy": "back kamar neck gardan sprain sports injury posture",
}
"""Specialty → words with which people say what they come for, in English and in romanised Hindi, Tamil and others."""


def folded(text: str) -> str:
    """Text as it is compared: without case, accents and spaces that nobody sees."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(one for one in decomposed if not unicodedata.combining(one)).split())


def words(*texts: str) -> set[str]:
    """The words of some texts as they are compared, cut where they are very long."""
    return {word[:LONGEST_WORD] for text in texts for word in _BETWEEN_WORDS.split(folded(text)) if word}


def sound(word: str) -> str:
    """A folded word by its sound: variants of one romanised sound become the same letters.

    It reads from left to right and looks back only, so the sound of a word's beginning begins the word's sound; an
    `h` counts at the beginning and after a vowel, since after consonants it comes and goes (th/t, sh/s, bh/b); of
    letters that are doubled after the mapping one is left (aa/a, ll/l).
    """
    out: list[str] = []
    before = ""
    for letter in word:
        if letter != "h" or before == "" or before in _VOWELS:
            for one in _SOUNDS.get(letter, letter):
                if out[-1:] != [one]:
                    out.append(one)
        before = letter
    return "".join(out)


def city_name(city: str) -> str:
    """A city as it is compared, under its present name."""
    name = folded(city)
    return CITY_NAMES.get(name, name)


class Sort(StrEnum):
    """In which order a search answers."""

    NEXT_AVAILABLE = "next_available"
    DISTANCE = "distance"
    RATING = "rating"
    FEE = "fee"


Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class SearchQuery(Model):
    """What a search asks; every condition that is given must hold."""

    q: Word | None = None
    specialty: Word | None = None
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")] | None = None
    city: Word | None = None
    mode: VisitMode | None = None
    fee_max: int | None = Field(default=None, ge=0, le=100_000_000, description="Paise.")
    gender: Literal["female", "male", "other"] | None = None
    available_on: date | None = None
    near: Location | None = None
    radius_km: float | None = Field(default=None, gt=0, le=200)
    sort: Sort = Sort.NEXT_AVAILABLE

    @property
    def tokens(self) -> list[str]:
        """What an entry must hold, all of it; the one that says most comes first, since an index is entered with it."""
        wanted = sorted((sound(one) for one in words(self.q or "")), key=lambda one: (-len(one), one))
        tokens = [f"w:{one}" for one in wanted[:MOST_WORDS] if one]
        tokens += [] if self.specialty is None else [f"s:{folded(self.specialty)}"]
        tokens += [] if self.city is None else [f"c:{city_name(self.city)}"]
        tokens += [] if self.available_on is None else [day_token(self.available_on, self.mode)]
        tokens += [] if self.language is None else [f"l:{self.language}"]
        tokens += [] if self.gender is None else [f"g:{self.gender}"]
        tokens += [] if self.mode is None else [f"m:{self.mode}"]
        return tokens or [EVERYBODY]


EVERYBODY: Final = "*"
"""What every entry holds: a search without conditions asks for it."""


def day_token(day: date, mode: VisitMode | None) -> str:
    """What an entry holds for a day with a free time, of any mode or of that one."""
    return f"d:{day}" if mode is None else f"d:{day}:{mode}"


def profile_tokens(provider: Provider, clinic: Clinic) -> list[str]:
    """What a profile is found by: beginnings of words by their sound, and each property."""
    spoken = {sound(one) for one in words(provider.name, *provider.specialties)}
    beginnings = {one[:length] for one in spoken for length in range(1, len(one) + 1)}
    symptoms = {sound(one) for one in _symptoms(provider.specialties)}
    beginnings |= {one[:length] for one in symptoms for length in range(_SHORTEST_SYMPTOM, len(one) + 1)} | symptoms
    return [
        EVERYBODY,
        *(f"w:{one}" for one in sorted(beginnings)),
        *(f"s:{folded(one)}" for one in provider.specialties),
        f"c:{city_name(clinic.city)}",
        *(f"l:{one}" for one in provider.languages),
        f"g:{provider.gender}",
        *(f"m:{one}" for one in sorted({service.mode for service in provider.services})),
    ]


def _symptoms(specialties: Iterable[str]) -> set[str]:
    return {word for one in specialties for word in words(SYMPTOMS.get(folded(one), ""))}


class FreeDay(NamedTuple):
    """A day with free times: the first of all, and the modes that have some."""

    day: date
    first: datetime
    modes: tuple[VisitMode, ...]


class Facet(Model):
    """A value of a property and how many results have it."""

    value: str
    count: int


UNSTATED: Final = "unstated"
"""The gender of whoever has not said: nothing to filter by."""

FACETS: Final = ("specialty", "language", "city", "mode", "gender")


def facet_values(provider: Provider, clinic: Clinic) -> list[str]:
    """`property:value` for each value that facets count."""
    return [
        *(f"specialty:{one}" for one in provider.specialties),
        *(f"language:{one}" for one in provider.languages),
        f"city:{clinic.city}",
        *(f"mode:{one}" for one in sorted({service.mode for service in provider.services})),
        *([] if provider.gender == UNSTATED else [f"gender:{provider.gender}"]),
    ]


class Found(NamedTuple):
    """One result: whose profile, and what the projection knows of it."""

    provider_id: str
    next_available: datetime | None
    distance_km: float | None
    rating: float | None = None
    """The Bayesian average of all published ratings, to one decimal; None where nobody has rated."""
    ratings: int = 0
