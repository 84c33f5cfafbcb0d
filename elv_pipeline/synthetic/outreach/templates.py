"""The templates of the organisation: their texts, and how what can be read in a text makes it strong or weak.

Belongs here: texts with {placeholders} and the effect of their properties. Does not belong here: where a template is
used (`plan.py`), or what a reply says (`replies.py`).

The effect of a template on the logit of a reaction is that of its properties plus its own: what a reader of the texts
would put down to length, question and address is then what really is behind the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONG_WORDS: Final = 90
LONG_EFFECT: Final = -0.6
NO_QUESTION_EFFECT: Final = -0.35
IMPERSONAL_EFFECT: Final = -0.35
PERSONAL_PLACEHOLDERS: Final = ("{first_name}", "{company}")


@dataclass(frozen=True, kw_only=True)
class Template:
    """One prompt template.

    Attributes:
        template_id: its id in the exports.
        text: with {placeholders}, never filled in.
        own_effect: on the logit of opening, replying and booking, beyond that of its properties.
        irritation: how many ordinary touches it tires a contact as, beyond its own; also drives contacts to opt out.
    """

    template_id: str
    text: str
    own_effect: float = 0.0
    irritation: float = 0.0

    @property
    def words(self) -> int:
        """Number of words."""
        return len(self.text.split())

    @property
    def asks(self) -> bool:
        """Whether it has a question."""
        return "?" in self.text

    @property
    def personal(self) -> bool:
        """Whether it addresses the contact by a placeholder."""
        return any(name in self.text for name in PERSONAL_PLACEHOLDERS)

    @property
    def effect(self) -> float:
        """Effect on the logit; 0 for a short, personal template with a question and no effect of its own."""
        properties = (
            LONG_EFFECT * (self.words > LONG_WORDS)
            + NO_QUESTION_EFFECT * (not self.asks)
            + IMPERSONAL_EFFECT * (not self.personal)
        )
        return properties + self.own_effect


WEAK_TEXT = (
    "Dear Sir or Madam, we are a leading provider of integrated solutions for organisations of every size and we are "
    "proud to look back on many years of experience in a large number of industries. Our comprehensive portfolio "
    "covers consulting, planning, implementation, training, maintenance and support, and it is complemented by a broad "
    "network of certified partners. All of our products are developed according to the highest standards of quality, "
    "are continuously improved, and have been awarded several times. In the attached brochure you will find a detailed "
    "overview of all modules, editions, service levels and conditions. Further information is available on our website "
    "at any time. We remain at your disposal and look forward to a successful cooperation. Kind regards, {sender_name}"
)

TEMPLATES: Final = {
    template.template_id: template
    for template in (
        Template(
            template_id="tpl_intro",
            text="Hi {first_name}, teams like {company} spend hours a week on lists that nobody answers. "
            "Would fifteen minutes next week be worth it to see how others cut that in half? {sender_name}",
        ),
        Template(
            template_id="tpl_intro_plain",
            own_effect=0.05,
            text="Hello {first_name}, a short note from {sender_name}: we help companies like {company} to answer "
            "enquiries on the same day. May I show you how it works?",
        ),
        Template(
            template_id="tpl_intro_german",
            own_effect=-0.05,
            text="Guten Tag {first_name}, Firmen wie {company} beantworten Anfragen oft erst nach Tagen. "
            "Darf ich Ihnen in einer Viertelstunde zeigen, wie es schneller geht? {sender_name}",
        ),
        Template(
            template_id="tpl_follow_up",
            text="Hi {first_name}, did my last note reach you? A one-page example from {industry} is attached. "
            "Is this a topic for {company} this quarter? {sender_name}",
        ),
        Template(template_id="tpl_brochure", text=WEAK_TEXT),
        Template(
            template_id="tpl_resource",
            own_effect=0.05,
            text="{first_name}, here is the checklist that other teams in {region} use before they buy. "
            "Which of the five points is hardest for you? {sender_name}",
        ),
        Template(
            template_id="tpl_pressure",
            own_effect=-0.2,
            irritation=6.0,
            text="{first_name}, this is the LAST CHANCE. The offer for {company} ends tonight and will not come back. "
            "Do you really want to miss it?",
        ),
        Template(
            template_id="tpl_closing",
            text="Hi {first_name}, I do not want to crowd your inbox. Shall I close the file, or is later in the year "
            "a better time for {company}? {sender_name}",
        ),
        Template(
            template_id="tpl_letter",
            text="Dear {first_name}, thank you for the trust of {company}. I would like to hear what you are planning "
            "for the coming year. May I call you in the week of {date}? {sender_name}",
        ),
        Template(
            template_id="tpl_call",
            text="Hello {first_name}, {sender_name} speaking. You had a look at our example for {industry}. "
            "What made you open it? How do you do it at {company} today?",
        ),
        Template(
            template_id="tpl_call_cold",
            text="Hello {first_name}, {sender_name} speaking. We have not met. "
            "Do you have two minutes to talk about how {company} answers enquiries?",
        ),
        Template(
            template_id="tpl_message",
            text="Hi {first_name}, {sender_name} here. Is a short call on {date} possible?",
        ),
        Template(
            template_id="tpl_message_link",
            own_effect=-0.05,
            text="{first_name}, you can pick a time yourself: {calendar_link}. Morning or afternoon?",
        ),
    )
}
"""By id, in a fixed order."""
