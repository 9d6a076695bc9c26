import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from cifar_tune.dashboard.serve import Dashboard
from tests.waiting import PATIENCE

from .conftest import STUDY, TRIALS

pytestmark = pytest.mark.browser


REDRAWN = (ElementClickInterceptedException, NoSuchElementException, StaleElementReferenceException)
"""What the driver says where the page has drawn a part of itself anew between two questions."""


def wait_for_text(browser: Chrome, *texts: str) -> str:
    """The page's text, once all of these are in it."""

    def shown(_: Chrome) -> str | bool:
        text = browser.find_element(By.TAG_NAME, "body").text
        return all(wanted in text for wanted in texts) and text

    waiting = WebDriverWait(browser, PATIENCE, ignored_exceptions=REDRAWN)
    return str(waiting.until(shown, f"the page never showed all of {texts}"))


def follow(browser: Chrome, path: str) -> None:
    """Click the link that leads to that path."""

    def clicked(_: Chrome) -> bool:
        browser.find_element(By.CSS_SELECTOR, f"a[href='{path}']").click()
        return True

    WebDriverWait(browser, PATIENCE, ignored_exceptions=REDRAWN).until(clicked)


def test_from_the_list_to_the_study_and_its_trials(browser: Chrome, dashboard: Dashboard) -> None:
    browser.get(dashboard.address)
    wait_for_text(browser, STUDY, "Direction: MAXIMIZE")
    follow(browser, "/dashboard/studies/1")
    wait_for_text(browser, "val_accuracy", "Best Trial (number=2)", "0.9375", "Hyperparameter Importance", "optimizer")
    follow(browser, "/dashboard/studies/1/trials")
    text = wait_for_text(browser, f"{len(TRIALS)} Trials", *(f"Trial {number}" for number in range(len(TRIALS))))
    lines = text.split("\n")
    for number, (state, _) in enumerate(TRIALS):
        assert lines[lines.index(f"Trial {number}") + 1] == state.capitalize()


def test_a_trial_shows_its_value_and_parameters(browser: Chrome, dashboard: Dashboard) -> None:
    number = 2
    browser.get(f"{dashboard.address}/studies/1/trials?numbers={number}")
    text = wait_for_text(browser, f"Trial {number} (trial_id={number + 1})", "Parameter", "Intermediate Values")
    lines = text.split("\n")
    assert lines[lines.index("Value") + 1] == str(TRIALS[number][1])
    assert f"lr {0.01 * (number + 1)}" in lines
    assert "optimizer sgd" in lines
    assert f"2 {TRIALS[number][1]}" in lines
