"""The words by which replies are read, English and German: how welcoming they are, and what they are about.

Belongs here: the lists, written for answers to business e-mails and calls, and nothing else. Does not belong here: how
a text is cut into words, or what is counted (``text_content``).

Weights are whole numbers from -3 (a clear refusal) to 3 (clear delight); inflected forms stand in the lists, because no
stemmer is used. A word that means different things in the two languages (``gift``, ``fast``, ``arm``, ``hell``) is left
out. The lists were written for this project; no published lexicon was copied.

``VOCABULARY`` is closed: only its words can become hashed tokens. It holds common words of business. Names of people,
places, companies and products do not belong in it, nor months: April, August and June are first names, too.
"""

from __future__ import annotations

from collections.abc import Mapping

_WEIGHED: Mapping[int, str] = {
    3: """
        amazing awesome excellent excited fantastic thrilled wonderful perfect delighted
        ausgezeichnet begeistert fantastisch großartig hervorragend perfekt wunderbar
    """,
    2: """
        absolutely agree agreed convinced definitely glad gladly good great happy helpful impressed impressive
        interested interesting keen love loved pleased pleasure recommend recommended useful valuable welcome
        angenehm beeindruckend beeindruckt einverstanden erfreut freue freuen gerne gern gut gute guten guter gutes
        herzlich hilfreich interessant interessante interessiert klasse prima super sympathisch überzeugend überzeugt
        wertvoll willkommen zufrieden
    """,
    1: """
        appreciate appreciated available cheers curious fine forward interest like looking nice okay ok possible
        promising ready relevant sure thank thanks works worth yep
        danke dankbar dankeschön einfach freundlich interesse klar machbar möglich neugierig passend passt prüfen
        relevant spannend spannende verfügbar vielen vorstellen
    """,
    -1: """
        busy concern concerned concerns delay delayed expensive hesitant late later maybe overloaded
        postpone problem problems skeptical sceptical uncertain unclear unsure
        bedenken beschäftigt leider problem probleme schwierig skeptisch später teuer ungünstig unklar unsicher
        verschieben zögern überlastet
    """,
    -2: """
        annoying bad bother bothered complain complaint confused decline declined disappointed disappointing
        dislike disturb irrelevant poor refuse reject rejected sorry unfortunately unhappy uninterested unwanted
        useless wrong
        ablehnen abgelehnt enttäuscht enttäuschend falsch irrelevant kündigen nervig nutzlos schlecht schlechte
        schlechter stören stört unbrauchbar unerwünscht ungeeignet unnötig unpassend unzufrieden verärgert ärgerlich
    """,
    -3: """
        angry awful furious harassing harassment hate horrible scam spam terrible unacceptable unsubscribe
        abmelden abbestellen belästigung betrug entsetzlich frechheit furchtbar inakzeptabel schrecklich
        unverschämt wütend
    """,
}
_ANSWERED: Mapping[int, str] = {2: "yes yeah ja jawohl gern gerne", -2: "no nope nein nö stop stopp"}
_NEGATING = """
    no not never none neither nor without cannot cant dont doesnt didnt isnt wasnt wont wouldnt couldnt shouldnt arent
    hardly kein keine keinen keiner keines keinem nicht nie niemals ohne nichts nein weder kaum
"""
_AFTERWARDS = "nicht"
_NOT_ONLY = "only just nur"
_REGRET = "leider sorry unfortunately"
_TOPICS = """
    account agenda agreement amount answer appointment approval approve attach attached benefit board book booked
    booking budget buy calendar call calls case clarify colleague colleagues company compare compliance confirm
    contact contract cost costs customer customers data day days deadline deal decide decision demo department
    details director discount discuss document documents email evaluate example feature features finance friday
    future goal goals group hour hours implementation information install integrate integration invoice legal
    license manager marketing meet meeting message minutes monday month months morning need needs newsletter offer
    office options order owner partner partners password payment phone pilot plan plans platform presentation price
    prices pricing privacy process procurement product products project projects proposal provider purchase quarter
    question questions quote reference references remind remove reply report request requirements result results
    review roadmap sales schedule security send service services signature software solution sources start step
    steps supplier supplies support system team term terms test thursday ticket time tomorrow tool tools training
    trial tuesday update upgrade user users value vendor video webinar website wednesday week weeks year years
    abteilung angebot angebote anruf anrufen antwort anbieter anforderungen auftrag aufwand beispiel beratung
    bericht beschaffung bestellen bestellung besprechen besprechung datenschutz datum dienstag dienstleister
    donnerstag dokument dokumente einführung einkauf einsatz entscheiden entscheidung entscheider erfahrung ergebnis
    ergebnisse firma frage fragen freitag funktion funktionen gesellschaft gespräch geschäftsführung heute
    information informationen jahr jahre kalender kaufen kollege kollegen kollegin kontakt kosten kunde kunden
    lieferant lösung lösungen mittwoch monat monate montag morgen nachricht nutzen nutzer partner preis preise
    produkt produkte projekt projekte prozess präsentation quartal rabatt rechnung referenz referenzen rückmeldung
    rückruf schulung schnittstelle sicherheit system tag tage telefon telefonat termin termine testen treffen
    unterlagen unternehmen unterschrift verfahren vergleich vertrag verträge vertrieb vorschlag vorgesetzter
    vorstand website woche wochen zahlung zeit zertifikat ziel ziele zukunft zuständig
"""


def _forms(listed: str) -> list[str]:
    """The words of a list, and how they are written where a keyboard has no umlauts (``fuer``)."""
    words = listed.lower().split()
    plain = [word.translate({228: "ae", 246: "oe", 252: "ue", 223: "ss"}) for word in words]
    return sorted({*words, *plain})


def _weights(weighed: Mapping[int, str]) -> dict[str, int]:
    return {word: weight for weight, listed in weighed.items() for word in _forms(listed)}


WEIGHTS: Mapping[str, int] = _weights(_WEIGHED)
"""Words by how welcoming they are."""
ANSWERS: Mapping[str, int] = _weights(_ANSWERED)
"""Words that answer where they stand alone between two marks, as in ``No, thanks``: elsewhere they are particles."""
NEGATIONS: frozenset[str] = frozenset(_forms(_NEGATING))
"""Words that turn what follows; so does an English word that ends in ``n't``."""
NEGATIONS_AFTER: frozenset[str] = frozenset(_forms(_AFTERWARDS))
"""Those that also turn what came before, if nothing follows: ``das passt nicht``."""
NOT_ONLY: frozenset[str] = frozenset(_forms(_NOT_ONLY))
"""Words after which a negation turns nothing: ``not only good``."""
REGRET: frozenset[str] = frozenset(_forms(_REGRET))
"""Words that weigh but are never turned: in ``das passt leider nicht`` it is ``passt`` that is."""
VOCABULARY: frozenset[str] = frozenset(_forms(_TOPICS)) | frozenset(WEIGHTS)
"""The only words that can become tokens."""
