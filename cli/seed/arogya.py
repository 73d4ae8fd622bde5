"""Arogya Clinics: Bengaluru, Pune and Dubai."""

from __future__ import annotations

from cli.seed import people
from cli.seed.catalogue import (
    AFTERNOON,
    AROUND_THE_CLOCK,
    EVENING,
    EVERY_DAY,
    MON_TO_FRI,
    MON_TO_SAT,
    MORNING,
    OVERNIGHT,
    hours,
    profile,
    service,
)
from models.providers import Clinic, Location, PaymentMode, TenantRecord, VisitMode

TENANT = TenantRecord(id="tnt_arogya", slug="arogya", name="Arogya Clinics")

INDIRANAGAR = Clinic(
    id="cln_arogya_indiranagar",
    tenant_id=TENANT.id,
    slug="arogya-indiranagar",
    name="Arogya Clinic Indiranagar",
    timezone="Asia/Kolkata",
    address="12th Main Road, HAL 2nd Stage, Indiranagar, Bengaluru 560038",
    city="Bengaluru",
    location=Location(latitude=12.9716, longitude=77.6412),
)
KOREGAON_PARK = Clinic(
    id="cln_arogya_koregaon_park",
    tenant_id=TENANT.id,
    slug="arogya-koregaon-park",
    name="Arogya Clinic Koregaon Park",
    timezone="Asia/Kolkata",
    address="Lane 6, Koregaon Park, Pune 411001",
    city="Pune",
    location=Location(latitude=18.5362, longitude=73.8940),
)
JUMEIRAH = Clinic(
    id="cln_arogya_jumeirah",
    tenant_id=TENANT.id,
    slug="arogya-jumeirah",
    name="Arogya Clinic Jumeirah",
    timezone="Asia/Dubai",
    address="Jumeirah Beach Road, Jumeirah 1, Dubai",
    city="Dubai",
    location=Location(latitude=25.2175, longitude=55.2490),
)
CLINICS = (INDIRANAGAR, KOREGAON_PARK, JUMEIRAH)

ANANYA_RAO = profile(
    people.ANANYA_RAO,
    INDIRANAGAR,
    ("General medicine",),
    ("en", "kn", "hi"),
    hours(MON_TO_SAT, MORNING, AFTERNOON),
    (
        service("visit", "Consultation", 15, 600),
        service("follow_up", "Follow-up by video", 10, 350, mode=VisitMode.VIDEO),
        service("check", "Annual health check", 40, 1500, payment=PaymentMode.AT_CLINIC, buffers=(0, 5)),
    ),
)
VIKRAM_SHENOY = profile(
    people.VIKRAM_SHENOY,
    INDIRANAGAR,
    ("Cardiology",),
    ("en", "kn", "kok"),
    hours(MON_TO_FRI, MORNING, ("15:00", "18:00")),
    (
        service("visit", "Cardiology consultation with ECG", 25, 1400, buffers=(5, 10)),
        service("video", "Review of reports by video", 15, 900, mode=VisitMode.VIDEO),
    ),
)
MEERA_KRISHNAN = profile(
    people.MEERA_KRISHNAN,
    INDIRANAGAR,
    ("Paediatrics",),
    ("en", "ta", "kn", "ml"),
    # Children come without an exact time: each hour has twelve tokens.
    hours(MON_TO_SAT, ("10:00", "13:00"), ("17:00", "19:00"), capacity=12),
    (service("token", "Children's clinic (token)", 60, 500, payment=PaymentMode.AT_CLINIC),),
)
FARHAN_QURESHI = profile(
    people.FARHAN_QURESHI,
    INDIRANAGAR,
    ("Emergency medicine", "General medicine"),
    ("en", "hi", "ur", "kn"),
    hours(EVERY_DAY, OVERNIGHT),
    (service("night", "Evening and night consultation", 20, 1100, buffers=(0, 10)),),
)
KAVYA_HEGDE = profile(
    people.KAVYA_HEGDE,
    INDIRANAGAR,
    ("General medicine",),
    ("en", "kn", "tcy"),
    hours(EVERY_DAY, AROUND_THE_CLOCK),
    (service("video", "Video consultation, day and night", 15, 499, mode=VisitMode.VIDEO),),
)
ROHAN_DESHPANDE = profile(
    people.ROHAN_DESHPANDE,
    KOREGAON_PARK,
    ("Orthopaedics", "Sports medicine"),
    ("en", "mr", "hi"),
    hours(MON_TO_SAT, ("09:30", "13:30"), EVENING),
    (
        service("visit", "Orthopaedic consultation", 20, 900, buffers=(0, 5)),
        service("injection", "Joint injection", 30, 3200, buffers=(10, 10)),
    ),
)
SNEHA_KULKARNI = profile(
    people.SNEHA_KULKARNI,
    KOREGAON_PARK,
    ("Dermatology",),
    ("en", "mr", "hi"),
    hours(MON_TO_FRI, ("10:00", "13:00"), ("14:30", "19:00")),
    (
        service("visit", "Skin and hair consultation", 15, 800),
        service("video", "Skin consultation by video", 15, 650, mode=VisitMode.VIDEO),
        service("follow_up", "Follow-up within a week", 10, 0),
    ),
)
PRIYA_MENON = profile(
    people.PRIYA_MENON,
    JUMEIRAH,
    ("Obstetrics and gynaecology",),
    ("en", "ml", "hi", "ar"),
    hours(MON_TO_FRI, MORNING, ("16:00", "20:00")),
    (
        service("visit", "Consultation", 30, 6500),
        service("scan", "Consultation with ultrasound", 40, 9800, buffers=(5, 5)),
    ),
)
ARJUN_NAMBIAR = profile(
    people.ARJUN_NAMBIAR,
    JUMEIRAH,
    ("General medicine",),
    ("en", "ml", "ta"),
    hours(MON_TO_SAT, MORNING, AFTERNOON),
    (
        service("visit", "Consultation", 20, 4200),
        service("travel", "Travel vaccination advice", 15, 2500, payment=PaymentMode.AT_CLINIC),
    ),
)
PROFILES = (
    ANANYA_RAO, VIKRAM_SHENOY, MEERA_KRISHNAN, FARHAN_QURESHI, KAVYA_HEGDE, ROHAN_DESHPANDE, SNEHA_KULKARNI,
    PRIYA_MENON, ARJUN_NAMBIAR,
)  # fmt: skip

EMPTY_STACK_PROFILE = profile(
    people.ANANYA_RAO,
    INDIRANAGAR,
    ("General medicine",),
    ("en",),
    hours(EVERY_DAY, AROUND_THE_CLOCK),
    (
        service("visit", "Consultation", 15, 600),
        service("desk", "Consultation, paid at the clinic", 15, 600, payment=PaymentMode.AT_CLINIC),
        service("follow_up", "Follow-up", 15, 0),
    ),
)
"""The doctor account's profile where nothing is seeded: open day and night, one service of each way of paying."""
