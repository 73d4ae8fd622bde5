"""Sanjeevani Health: Mumbai and Chennai."""

from __future__ import annotations

from cli.seed import people
from cli.seed.catalogue import AFTERNOON, EVENING, MON_TO_FRI, MON_TO_SAT, MORNING, hours, profile, service
from models.providers import Clinic, Location, PaymentMode, TenantRecord, VisitMode

TENANT = TenantRecord(id="tnt_sanjeevani", slug="sanjeevani", name="Sanjeevani Health")

BANDRA = Clinic(
    id="cln_sanjeevani_bandra",
    tenant_id=TENANT.id,
    slug="sanjeevani-bandra",
    name="Sanjeevani Polyclinic Bandra",
    timezone="Asia/Kolkata",
    address="Hill Road, Bandra West, Mumbai 400050",
    city="Mumbai",
    location=Location(latitude=19.0546, longitude=72.8296),
)
ANNA_NAGAR = Clinic(
    id="cln_sanjeevani_anna_nagar",
    tenant_id=TENANT.id,
    slug="sanjeevani-anna-nagar",
    name="Sanjeevani Eye and Diabetes Centre",
    timezone="Asia/Kolkata",
    address="2nd Avenue, Anna Nagar, Chennai 600040",
    city="Chennai",
    location=Location(latitude=13.0850, longitude=80.2101),
)
CLINICS = (BANDRA, ANNA_NAGAR)

ZOYA_MERCHANT = profile(
    people.ZOYA_MERCHANT,
    BANDRA,
    ("Psychiatry",),
    ("en", "hi", "gu"),
    hours(MON_TO_FRI, ("11:00", "14:00"), ("16:00", "20:00")),
    (
        service("first", "First conversation", 50, 2800, buffers=(5, 5)),
        service("video", "Session by video", 40, 2200, mode=VisitMode.VIDEO, buffers=(5, 5)),
    ),
)
SIDDHARTH_MEHTA = profile(
    people.SIDDHARTH_MEHTA,
    BANDRA,
    ("Ear, nose and throat",),
    ("en", "gu", "hi", "mr"),
    hours(MON_TO_SAT, MORNING, EVENING),
    (service("visit", "ENT consultation", 15, 1000, buffers=(0, 5)),),
)
NIKHIL_JOSHI = profile(
    people.NIKHIL_JOSHI,
    BANDRA,
    ("Dentistry",),
    ("en", "mr", "hi"),
    hours(MON_TO_SAT, ("09:00", "13:30"), ("14:30", "19:00")),
    (
        service("check", "First check", 15, 0),
        service("cleaning", "Scaling and polishing", 30, 1800, buffers=(5, 10)),
        service("root_canal", "Root canal treatment, one sitting", 60, 5500, buffers=(10, 15)),
    ),
)
VIKRAM_SHENOY = profile(
    people.VIKRAM_SHENOY,
    BANDRA,
    ("Cardiology",),
    ("en", "hi", "kok"),
    # The cardiologist of Arogya Indiranagar is in Mumbai on Saturdays, and on the telephone on weekday afternoons.
    (*hours((5,), ("10:00", "16:00")), *hours(MON_TO_FRI, ("17:00", "19:00"))),
    (service("visit", "Cardiology consultation", 30, 1800, buffers=(0, 10)),),
)
LAKSHMI_SUBRAMANIAN = profile(
    people.LAKSHMI_SUBRAMANIAN,
    ANNA_NAGAR,
    ("Ophthalmology",),
    ("en", "ta", "te"),
    hours(MON_TO_SAT, ("08:30", "12:30"), ("16:00", "19:00")),
    (
        service("visit", "Eye examination", 20, 700, buffers=(0, 10)),
        service("screening", "Diabetic eye screening", 10, 0),
    ),
)
KARTHIK_IYER = profile(
    people.KARTHIK_IYER,
    ANNA_NAGAR,
    ("Endocrinology", "Diabetology"),
    ("en", "ta", "hi"),
    hours(MON_TO_FRI, ("07:30", "11:30"), AFTERNOON),
    (
        service("visit", "Diabetes consultation", 20, 950, payment=PaymentMode.AT_CLINIC),
        service("video", "Review of readings by video", 10, 450, mode=VisitMode.VIDEO),
    ),
)
PROFILES = (ZOYA_MERCHANT, SIDDHARTH_MEHTA, NIKHIL_JOSHI, VIKRAM_SHENOY, LAKSHMI_SUBRAMANIAN, KARTHIK_IYER)
