package qupath.fx.dialogs

/** Windows that are answered at once, in turn, and kept as they were shown. */
class Dialogs {
    static List answers = []
    static List said = []

    private static Object next(String kind, String text, Object choices = null) {
        said << [kind: kind, text: text, choices: choices]
        assert !answers.isEmpty(): "nobody answers: ${text}"
        return answers.remove(0)
    }

    static boolean showConfirmDialog(String title, String text) { next("confirm", text) }

    static String showInputDialog(String title, String message, String initial) { next("input", message) }

    static Object showChoiceDialog(String title, String message, Collection choices, Object first) {
        def chosen = next("choose", message, choices)
        assert chosen == null || chosen in choices
        return chosen
    }

    static void showErrorMessage(String title, String message) { said << [kind: "error", text: message] }

    static void showInfoNotification(String title, String message) { said << [kind: "info", text: message] }
}
