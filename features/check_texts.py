"""Sentences on which an exported embedding model is calibrated and checked. Two separate sets."""

_SHORT = (
    "yes", "go on", "thanks a lot", "hello there", "why?", "fix it please", "what is 3 + 4?",
    "no, the other one", "explain", "ok", "continue", "are you sure?",
)  # fmt: skip

_CHECKED = (
    "Who was the first person to walk on the moon, and in which year?",
    "Write a Python function that returns the n-th Fibonacci number without recursion.",
    "Translate into German: The train leaves at half past six from platform nine.",
    "Solve for x: 3x^2 - 12x + 9 = 0. Show every step.",
    "My sister has twice as many stamps as I have; together we have 84. How many are mine?",
    "Summarise the following letter in two sentences for a busy manager.",
    "Which of these is a mammal?\nA. trout\nB. bat\nC. eagle\nD. gecko\nAnswer with the letter.",
    "SELECT name, COUNT(*) FROM orders GROUP BY name HAVING COUNT(*) > 3; why is this slow?",
    "Write a short poem about rain on a tin roof, in the voice of an old sailor.",
    "Is the following review positive or negative? The soup was cold and nobody apologised.",
    "Rewrite this politely: send me the report now, you are late again.",
    "Extract every date and amount from the invoice below and return them as JSON.",
    "What is the difference between mitosis and meiosis, in plain words?",
    "Traceback (most recent call last): KeyError: 'user_id'. What does it mean, and the fix?",
    "Quelle est la capitale de l'Australie, et pourquoi pas Sydney ?",
    "请用三句话解释什么是机器学习。",
    "Напиши короткое письмо соседу с просьбой не шуметь ночью.",
    "¿Cómo se hace una tortilla de patatas para cuatro personas?",
    "If all bloops are razzies and all razzies are lazzies, are all bloops certainly lazzies?",
    "Suggest five names for a small bakery near a lighthouse, each with a one-line slogan.",
    "int main(void) { char *s = malloc(8); strcpy(s, argv[1]); return 0; }  /* what is wrong? */",
    "Plan a three-day walk in the hills for two beginners with a budget of 200 euros.",
    "What are the legal risks if a tenant sublets a flat without asking the owner?",
    "Prove that the sum of two even integers is even.",
    "https://example.org/docs/setup says to run `make install`; it ends with exit code 2. Help.",
    "A patient has had a dry cough for three weeks and no fever. What should be asked next?",
)

_CALIBRATED = (
    "How tall is the highest mountain in Africa, and in which country does it stand?",
    "Implement a queue with two stacks in Java and explain the amortised cost.",
    "Translate the sentence 'I would rather stay at home tonight' into Spanish and Italian.",
    "Compute the integral of x * exp(-x) from 0 to infinity.",
    "A shop sells pens at 1.20 and pads at 2.50. I paid 12.30 for 7 things. What did I buy?",
    "Give me the main points of this article as a list with at most four items.",
    "Which planet is the largest?\n(A) Mars\n(B) Venus\n(C) Jupiter\n(D) Mercury",
    "How do I join two pandas frames on the nearest timestamp?",
    "Tell a bedtime story about a hedgehog who is afraid of the dark.",
    "Label the sentiment of each line as good, bad or neutral:\n1. Fine.\n2. Never again!",
    "Make the following paragraph sound more formal and correct its grammar.",
    "Find all names of people and companies in the text and list them.",
    "Why is the sky blue at noon and red in the evening?",
    "docker: Error response from daemon: port is already allocated. What now?",
    "Comment fonctionne un panneau solaire ?",
    "日本で一番長い川は何ですか。",
    "Сколько будет, если сложить все числа от одного до ста?",
    "Escribe un correo breve para cancelar una cita con el dentista.",
    "Alice is older than Bob, Bob is older than Carol. Who is the youngest? Think step by step.",
    "Come up with a title for a talk on databases that never sleep.",
    "class Node: def __init__(self, value, next=None): self.value = value  # add a reverse method",
    "What should I pack for a week in Iceland in March?",
    "Explain the rule of perpetuities to someone who has never read a law book.",
    "Show that the square root of two is irrational.",
    "curl -X POST http://localhost:8080/v1/items returns 415; which header is missing?",
    "Which exercises help against lower back pain after long days at a desk?",
)

_LEANED = (
    "no", "hi", "thank you", "please continue", "who are you?", "try again", "shorter",
    "sounds good", "what about the second one?", "good morning",
)  # fmt: skip


def check_texts() -> list[str]:
    """Texts of 1 to about 200 tokens for the agreement check.

    >>> len(check_texts()) > 40
    True
    """
    return [*_SHORT, *_CHECKED, *_joined(_CHECKED)]


def calibration_texts() -> list[str]:
    """Texts on which the range of every layer's input is measured; none is a check text.

    >>> set(check_texts()) & set(calibration_texts())
    set()
    """
    return [*_LEANED, *_CALIBRATED, *_joined(_CALIBRATED)]


def short_texts() -> list[str]:
    """The shortest calibration texts, which int8 hurts most."""
    return list(_LEANED[:6])


def _joined(texts: tuple[str, ...]) -> list[str]:
    return [" ".join(texts[i : i + n]) for n in (2, 4, 7) for i in range(0, len(texts) - n, 2 * n)]
