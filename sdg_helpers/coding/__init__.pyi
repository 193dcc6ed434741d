from .questions import prepare_questions as prepare_questions
