package javafx.scene.control

/** A window; a test may press its Cancel. */
class Alert {
    static Alert last
    enum AlertType { NONE }
    private Closure hidden

    Alert(AlertType kind, String text, ButtonType button) {}
    void setTitle(String title) {}
    void initOwner(Object owner) {}
    void initModality(Object modality) {}
    Object getDialogPane() { [setContent: { assert it != null }] as Pane }
    void setOnHidden(Closure work) { hidden = work }
    void show() { last = this }
    void close() { hidden(null) }
}

interface Pane { void setContent(Object content) }
