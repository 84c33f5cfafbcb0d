"""What Meta Ads Manager calls its columns, by language.

Belongs here: header names only. Does not belong here: what is done with the columns (``meta_ads_manager``). Where
each name was seen: docs/CONNECTORS.md. In every line: English, German, Spanish, French, Portuguese, Italian, Dutch.
"""

from __future__ import annotations

DAY = ("Day", "Tag", "Día", "Jour", "Dia", "Giorno", "Dag", "Date", "Datum", "Fecha", "Data")
REPORTING_STARTS = (
    "Reporting starts",
    *("Auswertungsstart", "Berichtsstart", "Beginn der Berichterstattung", "Berichtszeitraum beginnt"),
    "Inicio del informe",
    *("Début des rapports", "Début du rapport"),
    *("Início dos relatórios", "Início do relatório"),
    *("Inizio dei report", "Inizio del report"),
    *("Start rapportage", "Begin rapportage"),
)
REPORTING_ENDS = (
    "Reporting ends",
    *("Auswertungsende", "Berichtsende", "Ende der Berichterstattung", "Berichtszeitraum endet"),
    "Fin del informe",
    *("Fin des rapports", "Fin du rapport"),
    *("Encerramento dos relatórios", "Término dos relatórios", "Fim do relatório"),
    *("Fine dei report", "Fine del report"),
    "Einde rapportage",
)
CAMPAIGN_ID = (
    "Campaign ID",
    *("Kampagnen-ID", "Kampagnen ID"),
    *("Identificador de la campaña", "ID de la campaña"),
    *("ID de la campagne", "Identifiant de la campagne"),
    *("Identificação da campanha", "ID da campanha"),
    *("ID della campagna", "ID campagna"),
    *("Campagne-ID", "Campagne ID"),
)
CAMPAIGN_NAME = (
    "Campaign name",
    *("Kampagnenname", "Name der Kampagne"),
    "Nombre de la campaña",
    "Nom de la campagne",
    "Nome da campanha",
    *("Nome della campagna", "Nome campagna"),
    *("Campagnenaam", "Naam campagne"),
)
ADSET_ID = (
    *("Ad set ID", "Adset ID"),
    *("Anzeigengruppen-ID", "Anzeigengruppen ID"),
    *("Identificador del conjunto de anuncios", "ID del conjunto de anuncios"),
    *("ID de l'ensemble de publicités", "Identifiant de l'ensemble de publicités"),
    *("Identificação do conjunto de anúncios", "ID do conjunto de anúncios"),
    *("ID del gruppo di inserzioni", "ID gruppo di inserzioni"),
    *("Advertentieset-ID", "Advertentieset ID", "ID advertentieset"),
)
ADSET_NAME = (
    *("Ad set name", "Adset name"),
    *("Anzeigengruppenname", "Name der Anzeigengruppe"),
    "Nombre del conjunto de anuncios",
    "Nom de l'ensemble de publicités",
    "Nome do conjunto de anúncios",
    *("Nome del gruppo di inserzioni", "Nome gruppo di inserzioni"),
    *("Naam advertentieset", "Advertentiesetnaam", "Naam van advertentieset"),
)
AD_ID = (
    "Ad ID",
    *("Anzeigen-ID", "Anzeigen ID", "Werbeanzeigen-ID"),
    *("Identificador del anuncio", "ID del anuncio"),
    *("ID de la publicité", "Identifiant de la publicité"),
    *("Identificação do anúncio", "ID do anúncio"),
    *("ID dell'inserzione", "ID inserzione"),
    *("Advertentie-ID", "Advertentie ID"),
)
AD_NAME = (
    "Ad name",
    *("Anzeigenname", "Name der Anzeige", "Name der Werbeanzeige"),
    "Nombre del anuncio",
    "Nom de la publicité",
    "Nome do anúncio",
    *("Nome dell'inserzione", "Nome inserzione"),
    *("Advertentienaam", "Naam advertentie"),
)
IMPRESSIONS = (
    "Impressions",
    "Impressionen",
    "Impresiones",
    "Impressões",
    *("Impression", "Impressioni"),
    *("Vertoningen", "Weergaven"),
)
LINK_CLICKS = (
    "Link clicks",
    *("Link-Klicks", "Linkklicks"),
    *("Clics en el enlace", "Clics en enlaces"),
    *("Clics sur un lien", "Clics sur le lien"),
    *("Cliques no link", "Cliques na ligação"),
    *("Clic sul link", "Clic sui link"),
    *("Klikken op links", "Klikken op link", "Linkkliks", "Linkklikken"),
)
ALL_CLICKS = (
    "Clicks (all)",
    "Klicks (alle)",
    "Clics (todos)",
    "Clics (tous)",
    "Cliques (todos)",
    "Clic (tutti)",
    "Klikken (alle)",
)
SPEND = (
    "Amount spent",
    "Ausgegebener Betrag",
    "Importe gastado",
    "Montant dépensé",
    *("Valor usado", "Valor gasto", "Montante gasto"),
    "Importo speso",
    *("Besteed bedrag", "Uitgegeven bedrag"),
)
CURRENCY = ("Currency", "Währung", "Divisa", "Moneda", "Devise", "Moeda", "Valuta")
PLATFORM = ("Platform", "Publisher platform", "Plattform", "Plataforma", "Plateforme", "Piattaforma")
PLACEMENT = (
    "Placement",
    *("Platzierung", "Ubicación", "Emplacement", "Posicionamento", "Posizionamento", "Plaatsing"),
)
DEVICE = (
    *("Device platform", "Geräteplattform", "Plataforma del dispositivo", "Plateforme de l'appareil"),
    *("Plataforma do dispositivo", "Piattaforma del dispositivo", "Apparaatplatform"),
)
IMPRESSION_DEVICE = (
    *("Impression device", "Gerät der Impression", "Dispositivo de impresión", "Appareil d'impression"),
    *("Dispositivo de impressão", "Dispositivo dell'impression", "Weergaveapparaat"),
)
REGION = ("Region", "Región", "Région", "Região", "Regione", "Regio")
COUNTRY = ("Country", "Land", "País", "Pays", "Paese")
PEOPLE = (
    *("Age", "Alter", "Edad", "Âge", "Idade", "Età", "Leeftijd"),
    *("Gender", "Geschlecht", "Sexo", "Sexe", "Gênero", "Género", "Genere", "Sesso", "Geslacht"),
)
HOUR = ("Time of day (ad account time zone)", "Time of day (viewer's time zone)")
