"""The doctors as persons: name, gender and the registration with their medical council."""

from __future__ import annotations

from cli.seed.catalogue import practitioner

_KARNATAKA = "Karnataka Medical Council"
_MAHARASHTRA = "Maharashtra Medical Council"
_TAMIL_NADU = "Tamil Nadu Medical Council"
_DUBAI = "Dubai Health Authority"

ANANYA_RAO = practitioner("ananya_rao", "Dr. Ananya Rao", "female", _KARNATAKA, "KMC 84213", 2009)
VIKRAM_SHENOY = practitioner("vikram_shenoy", "Dr. Vikram Shenoy", "male", _KARNATAKA, "KMC 61874", 2001)
MEERA_KRISHNAN = practitioner("meera_krishnan", "Dr. Meera Krishnan", "female", _KARNATAKA, "KMC 97530", 2013)
FARHAN_QURESHI = practitioner("farhan_qureshi", "Dr. Farhan Qureshi", "male", _KARNATAKA, "KMC 102466", 2015)
KAVYA_HEGDE = practitioner("kavya_hegde", "Dr. Kavya Hegde", "female", _KARNATAKA, "KMC 113908", 2017)
ROHAN_DESHPANDE = practitioner("rohan_deshpande", "Dr. Rohan Deshpande", "male", _MAHARASHTRA, "2006/04/2187", 2006)
SNEHA_KULKARNI = practitioner("sneha_kulkarni", "Dr. Sneha Kulkarni", "female", _MAHARASHTRA, "2012/09/2741", 2012)
PRIYA_MENON = practitioner("priya_menon", "Dr. Priya Menon", "female", _DUBAI, "DHA-P-0148231", 2014)
ARJUN_NAMBIAR = practitioner("arjun_nambiar", "Dr. Arjun Nambiar", "male", _DUBAI, "DHA-P-0162077", 2016)
ZOYA_MERCHANT = practitioner("zoya_merchant", "Dr. Zoya Merchant", "female", _MAHARASHTRA, "2010/03/0864", 2010)
SIDDHARTH_MEHTA = practitioner("siddharth_mehta", "Dr. Siddharth Mehta", "male", _MAHARASHTRA, "2004/11/3356", 2004)
NIKHIL_JOSHI = practitioner(
    "nikhil_joshi", "Dr. Nikhil Joshi", "male", "Maharashtra State Dental Council", "A-22871", 2011
)
LAKSHMI_SUBRAMANIAN = practitioner(
    "lakshmi_subramanian", "Dr. Lakshmi Subramanian", "female", _TAMIL_NADU, "TNMC 70512", 2002
)
KARTHIK_IYER = practitioner("karthik_iyer", "Dr. Karthik Iyer", "male", _TAMIL_NADU, "TNMC 88149", 2008)

EVERYBODY = (
    ANANYA_RAO, VIKRAM_SHENOY, MEERA_KRISHNAN, FARHAN_QURESHI, KAVYA_HEGDE, ROHAN_DESHPANDE, SNEHA_KULKARNI,
    PRIYA_MENON, ARJUN_NAMBIAR, ZOYA_MERCHANT, SIDDHARTH_MEHTA, NIKHIL_JOSHI, LAKSHMI_SUBRAMANIAN, KARTHIK_IYER,
)  # fmt: skip
