package javafx.scene.control

/** A window whose Cancel is pressed after some ms, if a test says so. */
class Alert {
    static Integer pressesCancel
    enum AlertType { NONE }
    private Closure hidden

    Alert(AlertType kind, String text, ButtonType button) {}
    void setTitle(String title) {}
    void initOwner(Object owner) {}
    void initModality(Object modality) {}
    Object getDialogPane() { [setContent: { assert it != null }] as Pane }
    void setOnHidden(Closure work) { hidden = work }
    void show() {
        def wait = pressesCancel
        if (wait != null) Thread.start { sleep(wait); hidden(null) }
    }
    void close() { hidden(null) }
}

interface Pane { void setContent(Object content) }
