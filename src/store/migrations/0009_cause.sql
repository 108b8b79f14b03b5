-- What a section was when people were told that it is not seen: what began for one cause ends as one.
ALTER TABLE section_news ADD COLUMN cause TEXT;
